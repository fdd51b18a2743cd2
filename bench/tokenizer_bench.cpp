// How fast a tokenizer.json loads and text is encoded: processor time of one thread, medians.
//
//   tokenizer_bench TOKENIZER_JSON [TEXT_FILE]
//
// Without a text file: 10 MB of tokens drawn from the vocabulary, the frequent ones (low ids) more
// often: words, code, many scripts. Prints one line per figure; checks first that decoding gives
// the text back.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace {

using lethe::Tokenizer;

constexpr size_t kTextBytes = 10'000'000;
constexpr int kRounds = 9;

/// Median processor seconds of kRounds runs (of this program alone: the machine may be busy with
/// others), and the quickest.
struct Timing {
  double median;
  double best;
};

Timing time(const std::function<void()>& run) {
  std::vector<double> seconds;
  for (int i = 0; i < kRounds; ++i) {
    const std::clock_t start = std::clock();
    run();
    seconds.push_back(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front()};
}

/// Zipf-like: the id's logarithm is uniform.
std::string draw_text(const Tokenizer& tokenizer) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> logarithm(0.0, std::log(tokenizer.size()));
  std::string text;
  while (text.size() < kTextBytes) {
    const auto id = static_cast<int32_t>(std::exp(logarithm(random)));
    if (!tokenizer.is_added(id)) text += tokenizer.token_bytes(id);
  }
  return text;
}

std::string repeat(std::string_view unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

void report_encode(const Tokenizer& tokenizer, const std::string& name, const std::string& text) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  if (tokenizer.decode(ids) != text) throw lethe::Error("{}: decoding gives another text", name);
  const Timing timing = time([&] { ids = tokenizer.encode(text); });
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  fmt::print("encode {:<12} {:6.2f} MB {:9} ids  median {:7.1f} MB/s  best {:7.1f} MB/s\n", name,
             megabytes, ids.size(), megabytes / timing.median, megabytes / timing.best);
}

void report_decode(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  size_t bytes = 0;
  const Timing timing = time([&] {
    lethe::Detokenizer detokenizer(tokenizer);
    bytes = 0;
    for (const int32_t id : ids) bytes += detokenizer.push(id).size();
    bytes += detokenizer.finish().size();
  });
  fmt::print("detokenize one by one  {:9} ids  median {:7.1f} ns per id\n", ids.size(),
             timing.median * 1e9 / static_cast<double>(ids.size()));
}

void run(const std::string& path, const char* text_file) {
  const Timing loading = time([&] { Tokenizer::load(path); });
  fmt::print("load   {:.1f} ms median, {:.1f} ms best\n", loading.median * 1e3, loading.best * 1e3);
  const Tokenizer tokenizer = Tokenizer::load(path);
  std::string text;
  if (text_file != nullptr) {
    std::ifstream in(text_file, std::ios::binary);
    if (!in) throw lethe::UsageError("{}: cannot be opened.", text_file);
    text.assign(std::istreambuf_iterator<char>(in), {});
    if (text.empty()) throw lethe::UsageError("{}: is empty.", text_file);
  } else {
    text = draw_text(tokenizer);
  }
  report_encode(tokenizer, "text", text);
  report_decode(tokenizer, text);
  for (const auto& [name, unit] : {std::pair("letter a", "a"), std::pair("spaces", " "),
                                   std::pair("emoji", "😀"), std::pair("Chinese", "你好世界")}) {
    report_encode(tokenizer, fmt::format("{} .1M", name), repeat(unit, 100'000));
    report_encode(tokenizer, fmt::format("{} 1M", name), repeat(unit, 1'000'000));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: tokenizer_bench TOKENIZER_JSON [TEXT_FILE]\n");
    return 2;
  }
  try {
    run(argv[1], argc == 3 ? argv[2] : nullptr);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
