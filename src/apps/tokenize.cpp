#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "apps/builtin_model.h"
#include "apps/commands.h"
#include "base/error.h"
#include "base/json_py.h"
#include "serve/model_tokenizer.h"
#include "text/detokenizer.h"

namespace lethe::apps {
namespace {

struct TokenizeOptions {
  std::string model{kDefaultModel};
  std::string text;
  std::string file;
  std::string decode;
  bool has_text = false;
  bool has_file = false;
  bool has_decode = false;
  bool parse_special = false;
  bool json = false;
};

std::string read_all(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.is_open() || in.bad()) throw UsageError("--file {}: cannot be read.", path);
  return text;
}

/// "1,2 3" or "[1, 2, 3]".
std::vector<int32_t> parse_ids(std::string_view text) {
  constexpr std::string_view kBetween = " \t\r\n,[]";
  std::vector<int32_t> ids;
  while (true) {
    const size_t begin = text.find_first_not_of(kBetween);
    if (begin == std::string_view::npos) return ids;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    int32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) {
      throw UsageError("--decode: \"{}\" is no token id; expected numbers such as \"1, 2, 3\".",
                       word);
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

/// As a JSON string; bytes that are not UTF-8 show as U+FFFD.
std::string json_string(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.push(bytes);
  text += stream.finish();
  std::string out;
  append_json_string(out, text);
  return out;
}

void print_json(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                const std::string& text) {
  fmt::print("{{\"count\": {}, \"text\": {}, \"tokens\": [", ids.size(), json_string(text));
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string_view bytes = tokenizer.token_bytes(ids[i]);
    fmt::print("{}\n  {{\"id\": {}, \"text\": {}, \"bytes\": [", i == 0 ? "" : ",", ids[i],
               json_string(bytes));
    for (size_t b = 0; b < bytes.size(); ++b) {
      fmt::print("{}{}", b == 0 ? "" : ", ", static_cast<unsigned char>(bytes[b]));
    }
    fmt::print("], \"added\": {}}}", tokenizer.is_added(ids[i]));
  }
  fmt::print("\n]}}\n");
}

void print_token_table(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  for (const int32_t id : ids) {
    fmt::print("{:7} {}{}\n", id, json_string(tokenizer.token_bytes(id)),
               tokenizer.is_added(id) ? "  added token" : "");
  }
  fmt::print("{} token{}\n", ids.size(), ids.size() == 1 ? "" : "s");
}

void print_tokens(const TokenizeOptions& options) {
  if (int{options.has_text} + int{options.has_file} + int{options.has_decode} != 1) {
    throw UsageError("tokenize: give one of TEXT, --file FILE and --decode IDS.");
  }
  if (options.parse_special && options.has_decode) {
    throw UsageError("tokenize: --parse-special says how to read text; --decode has none.");
  }
  const std::vector<int32_t> given = parse_ids(options.decode);
  const std::string input = options.has_file ? read_all(options.file) : options.text;
  const Tokenizer tokenizer = serve::load_model_tokenizer(model_path(options.model));
  if (options.has_decode) {
    const std::string text = tokenizer.decode(given);
    if (options.json) {
      print_json(tokenizer, given, text);
    } else {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fputc('\n', stdout);
    }
    return;
  }
  const auto ids = tokenizer.encode(input, {.parse_special = options.parse_special});
  if (const size_t lost = tokenizer.count_unencodable(input)) {
    fmt::print(stderr,
               "lethe: {} bytes of the text have no token in this vocabulary and were left out.\n",
               lost);
  }
  if (options.json) {
    print_json(tokenizer, ids, input);
  } else {
    print_token_table(tokenizer, ids);
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids and pieces, and back");
  command
      ->add_option(
          "-m,--model", options->model,
          "Directory of a model, .gguf file, tokenizer.json, or name of the built-in model")
      ->capture_default_str();
  CLI::Option* text = command->add_option("text", options->text, "The text");
  CLI::Option* file = command->add_option("--file", options->file, "Read the text; - is stdin");
  CLI::Option* decode =
      command->add_option("--decode", options->decode, "Print the text of these ids: \"1, 2, 3\"");
  command->add_flag("--parse-special", options->parse_special,
                    "Let <｜User｜>, <think> ... become those tokens; without it they are letters");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, text, file, decode] {
    options->has_text = text->count() > 0;
    options->has_file = file->count() > 0;
    options->has_decode = decode->count() > 0;
    print_tokens(*options);
  });
}

}  // namespace lethe::apps
