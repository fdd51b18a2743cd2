#include "mini/lookup_text.h"

#include <fmt/format.h>

#include <unordered_set>
#include <utility>

namespace lethe::mini {

namespace {

/// One line in so many is a fact that nobody asks for, until there are kMaxOtherFacts of them.
constexpr int64_t kLinesAFact = 8;
constexpr size_t kMaxOtherFacts = 1000;

}  // namespace

LookupTexts::Fact LookupTexts::make_fact(LookupValues values, RandomStream& random) const {
  const std::string thing =
      fmt::format("{} {}", random.one_of(papers_.adjectives), random.one_of(papers_.things));
  const std::string& name = random.one_of(papers_.names);
  const bool of_thing = random.below(4) > 0;  // there are more things than names
  if (values == LookupValues::numbers) {
    const std::string key = of_thing ? "the " + thing : name;
    return {"code " + key, fmt::format("What is the code for {}?", key),
            fmt::format("The code for {} is {}.", key, random.between(1000, 9999))};
  }
  if (of_thing) {
    return {"place " + thing, fmt::format("Where is the {}?", thing),
            fmt::format("The {} is in the {}.", thing, random.one_of(papers_.places))};
  }
  return {"home " + name, fmt::format("Where does {} live?", name),
          fmt::format("{} lives in {}.", name, random.one_of(papers_.cities))};
}

LookupText LookupTexts::make(int64_t num_tokens, LookupValues values, int64_t num_questions,
                             uint64_t seed) const {
  RandomStream random(seed);
  std::unordered_set<std::string> keys;
  const auto new_fact = [&](LookupValues kind) {
    Fact fact = make_fact(kind, random);
    while (!keys.insert(fact.key).second) fact = make_fact(kind, random);
    return fact;
  };
  LookupText out;
  int64_t size = 0;
  const auto add = [&](const std::string& line) {
    if (!out.text.empty()) out.text += '\n';
    out.text += line;
    size += static_cast<int64_t>(tokenizer_.encode(line).size()) + 1;
  };
  for (int64_t asked = 0; size < num_tokens || asked < num_questions;) {
    const double depth = static_cast<double>(size) / static_cast<double>(num_tokens);
    if (depth * static_cast<double>(num_questions) >= static_cast<double>(asked) + 0.5 ||
        size >= num_tokens) {
      Fact fact = new_fact(values);
      add(fact.statement);
      out.questions.push_back({std::move(fact.question), std::move(fact.statement), depth});
      ++asked;
    } else if (keys.size() < kMaxOtherFacts && random.below(kLinesAFact) == 0) {
      add(new_fact(random.below(2) == 0 ? LookupValues::numbers : LookupValues::words).statement);
    } else {
      add(random.one_of(papers_.held_out));
    }
  }
  return out;
}

}  // namespace lethe::mini
