#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/json_py.h"
#include "text/tokenizer.h"

namespace lethe::testing {

/// One row of a golden file, already read.
struct GoldenRow {
  std::string id;
  Json row;
};

/// The rows of a JSON Lines file. Throws Error if it cannot be read.
std::vector<GoldenRow> read_golden_rows(const std::string& path);

/// Compares the program with a row of the encoding schemas (tests/golden/encoding/README.md):
/// encode, parse, parse_tolerant (whole, code point by code point, at every split) and api_render.
/// Returns what is wrong, or nothing.
std::optional<std::string> check_encoding_row(const Json& row);

/// Whether a row is a tokenizer's: `{"text", "ids"}`.
bool is_tokenizer_row(const Json& row);
/// Compares with such a row: encoding with added tokens recognised in the text, decoding back, and
/// decoding token by token.
std::optional<std::string> check_tokenizer_row(const Json& row, const Tokenizer& tokenizer);

}  // namespace lethe::testing
