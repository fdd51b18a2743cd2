/// golden_text [--tokenizer T.json] FILE.jsonl ...
///
/// Checks rows of the golden text schemas, whatever file they come from: prints the id of each row
/// that fails and why, then `N passed, N failed`. Exit status 1 if any failed, 2 for a wrong call.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "text/golden_rows.h"

namespace {

struct Counts {
  size_t passed = 0;
  size_t failed = 0;
};

void count(Counts& counts, const std::string& id, const std::optional<std::string>& fault) {
  if (!fault) {
    ++counts.passed;
    return;
  }
  ++counts.failed;
  fmt::print("FAILED {}: {}\n", id, *fault);
}

using lethe::Tokenizer;

std::optional<std::string> check(const lethe::Json& row,
                                 const std::optional<Tokenizer>& tokenizer) {
  try {
    if (!lethe::testing::is_tokenizer_row(row)) return lethe::testing::check_encoding_row(row);
    if (!tokenizer) return "a tokenizer row needs --tokenizer T.json";
    return lethe::testing::check_tokenizer_row(row, *tokenizer);
  } catch (const std::exception& error) {
    return fmt::format("unexpected failure: {}", error.what());
  }
}

void check_file(const std::string& path, const std::optional<Tokenizer>& tokenizer,
                Counts& counts) {
  try {
    for (const auto& [id, row] : lethe::testing::read_golden_rows(path)) {
      count(counts, id, check(row, tokenizer));
    }
  } catch (const std::exception& error) {
    count(counts, path, error.what());
  }
}

int usage() {
  fmt::print(stderr, "usage: golden_text [--tokenizer T.json] FILE.jsonl ...\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> files;
  std::optional<Tokenizer> tokenizer;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--tokenizer") {
      files.emplace_back(argv[i]);
      continue;
    }
    if (++i == argc) return usage();
    try {
      tokenizer = Tokenizer::load(argv[i]);
    } catch (const lethe::Error& error) {
      fmt::print(stderr, "{}\n", error.what());
      return 2;
    }
  }
  if (files.empty()) return usage();
  Counts counts;
  for (const std::string& path : files) check_file(path, tokenizer, counts);
  fmt::print("{} passed, {} failed\n", counts.passed, counts.failed);
  return counts.failed == 0 ? 0 : 1;
}
