#include "mini/exams.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "mini/random_stream.h"
#include "mini/tool_check.h"

namespace lethe::mini {

namespace {

constexpr int64_t kQuestionsAText = 10;

std::string described(const Answer& answer) {
  std::string out = answer.text;
  for (const AnsweredCall& call : answer.calls) {
    out += fmt::format(" {}({})", call.name, call.arguments);
  }
  if (!answer.error.empty()) out += fmt::format(" [{}]", answer.error);
  return out;
}

/// Counts one answer.
void mark(Score& score, bool right, const std::string& question, const std::string& expected,
          const Answer& answer) {
  ++score.asked;
  if (right) {
    ++score.right;
  } else if (score.first_fault.empty()) {
    score.first_fault = fmt::format("asked: {} | expected: {} | answered: {}", question, expected,
                                    described(answer));
  }
}

/// What one question must be answered with.
struct Item {
  std::string question;
  std::string expected;
  Json body;
};

/// Right is an answer of exactly the expected text.
Score ask_all(Examinee& examinee, const std::vector<Item>& items) {
  std::vector<Json> bodies;
  for (const Item& item : items) bodies.push_back(item.body);
  const std::vector<Answer> answers = examinee.ask(bodies);
  Score score;
  for (size_t i = 0; i < items.size(); ++i) {
    mark(score, answers[i].text == items[i].expected, items[i].question, items[i].expected,
         answers[i]);
  }
  return score;
}

void add(Score& score, const Score& more) {
  score.right += more.right;
  score.asked += more.asked;
  if (score.first_fault.empty()) score.first_fault = more.first_fault;
}

/// Up to `limit` indices below `size`, evenly spread.
std::vector<size_t> spread(size_t size, int64_t limit) {
  const size_t count = std::min(size, static_cast<size_t>(limit));
  std::vector<size_t> indices;
  for (size_t i = 0; i < count; ++i) indices.push_back(i * size / count);
  return indices;
}

std::string filled_in(std::string pattern, const std::string& word) {
  const size_t at = pattern.find("{w}");
  return at == std::string::npos ? pattern : pattern.replace(at, 3, word);
}

}  // namespace

Score examine_definitions(Examinee& examinee, const ExamPapers& papers,
                          const ExamOptions& options) {
  std::vector<Item> items;
  for (const size_t i : spread(papers.definitions.size(), options.limit)) {
    const Definition& definition = papers.definitions[i];
    const auto& wordings = papers.definition_questions;
    const std::string question =
        filled_in(options.new_wordings ? wordings[i % wordings.size()] : "What does {w} mean?",
                  definition.word);
    items.push_back({question,
                     fmt::format("The word {} means \"{}\".", definition.word, definition.gloss),
                     question_body(question, options.thinking)});
  }
  return ask_all(examinee, items);
}

Score examine_lookup(Examinee& examinee, const ExamPapers& papers, int64_t num_tokens,
                     LookupValues values, const ExamOptions& options) {
  const LookupTexts texts(papers, examinee.model().tokenizer());
  Score score;
  for (uint64_t seed = 1; score.asked < options.limit; ++seed) {
    const int64_t count = std::min(kQuestionsAText, options.limit - score.asked);
    const LookupText text = texts.make(num_tokens, values, count, seed);
    std::vector<Item> items;
    for (const LookupQuestion& question : text.questions) {
      Json messages =
          Json::array({{{"role", "system"}, {"content", "Read this text.\n\n" + text.text}},
                       {{"role", "user"}, {"content", question.question}}});
      items.push_back(
          {question.question, question.answer, chat_body(std::move(messages), options.thinking)});
    }
    // The first leaves states in the prefix cache, the second one where the text ends, for the
    // rest.
    const auto begin = items.begin();
    const auto second = begin + std::min<std::ptrdiff_t>(1, std::ssize(items));
    const auto third = begin + std::min<std::ptrdiff_t>(2, std::ssize(items));
    add(score, ask_all(examinee, {begin, second}));
    add(score, ask_all(examinee, {second, third}));
    add(score, ask_all(examinee, {third, items.end()}));
  }
  return score;
}

Score examine_arithmetic(Examinee& examinee, int64_t num_digits, const ExamOptions& options) {
  int64_t bound = 1;
  for (int64_t i = 0; i < num_digits; ++i) bound *= 10;
  RandomStream random(17);
  std::vector<Item> items;
  for (int64_t i = 0; i < options.limit; ++i) {
    int64_t a = random.between(bound / 10, bound - 1);
    int64_t b = random.between(bound / 10, bound - 1);
    const char sign = "+-*"[i % 3];
    if (sign == '*') {
      a = random.between(bound / 100, std::max<int64_t>(bound / 10 - 1, 9));
      b = random.between(2, 9);
    } else if (a < b) {
      std::swap(a, b);
    }
    const int64_t result = sign == '+' ? a + b : sign == '-' ? a - b : a * b;
    const std::string question = fmt::format("What is {} {} {}?", a, sign, b);
    items.push_back({question, fmt::format("{} {} {} = {}.", a, sign, b, result),
                     question_body(question, options.thinking)});
  }
  return ask_all(examinee, items);
}

ToolScores examine_tools(Examinee& examinee, const ExamPapers& papers, const ExamOptions& options) {
  std::vector<size_t> indices = spread(papers.tool_cases.size(), options.limit);
  std::vector<Json> bodies;
  for (const size_t i : indices) {
    Json body = question_body(papers.tool_cases[i].question, options.thinking);
    body["tools"] = papers.tool_cases[i].tools;
    bodies.push_back(std::move(body));
  }
  const std::vector<Answer> answers = examinee.ask(bodies);
  ToolScores scores;
  for (size_t at = 0; at < indices.size(); ++at) {
    const ToolCase& expected = papers.tool_cases[indices[at]];
    const Answer& answer = answers[at];
    const std::string meant = fmt::format("{}({})", expected.name, dump_json(expected.arguments));
    const bool valid = is_valid_call(answer, expected.tools);
    mark(scores.valid, valid, expected.question, meant, answer);
    const bool has_capital =
        std::ranges::any_of(expected.name, [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!has_capital) {
      mark(scores.valid_snake_case, valid, expected.question, meant, answer);
    }
    mark(scores.right, is_meant_call(answer, expected), expected.question, meant, answer);
  }
  return scores;
}

Score examine_memory(Examinee& examinee, const ExamPapers& papers, const ExamOptions& options) {
  std::vector<Item> items;
  for (const size_t i : spread(papers.memory_cases.size(), options.limit)) {
    const MemoryCase& memory = papers.memory_cases[i];
    items.push_back({memory.messages.back().at("content").get<std::string>(), memory.answer,
                     chat_body(memory.messages, options.thinking)});
  }
  return ask_all(examinee, items);
}

}  // namespace lethe::mini
