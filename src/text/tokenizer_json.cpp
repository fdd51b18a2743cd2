#include <simdjson.h>

#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "text/tokenizer_source.h"

namespace lethe {
namespace {

namespace ondemand = simdjson::ondemand;

/// Nested Sequences deeper than this are no tokenizer.
constexpr int kMaxNesting = 8;

/// Reads the parts of a tokenizer.json in whatever order they stand; what is not about making ids
/// (truncation, padding, post-processing) is passed over.
class Reader {
 public:
  explicit Reader(std::string name) { source_.name = std::move(name); }

  TokenizerSource read(std::string_view json);

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw LoadError("{}: {}: {}", source_.name, where_, what);
  }
  [[noreturn]] void unsupported(std::string_view kind, std::string_view type,
                                std::string_view supported) const {
    fail(fmt::format("the {} \"{}\" is not supported; {}", kind, printable(type), supported));
  }
  void once(bool& seen, std::string_view key) const {
    if (seen) fail(fmt::format("\"{}\" stands there twice.", key));
    seen = true;
  }

  void read_root(ondemand::object root);
  void read_model(ondemand::object model);
  void read_vocabulary(ondemand::value value);
  void read_merges(ondemand::value value);
  TokenizerSource::Merge read_merge(ondemand::value value);
  void read_added_tokens(ondemand::array tokens);
  void read_added_token(ondemand::object token);
  void read_normalizer(ondemand::value value, int depth);
  void read_pre_tokenizer(ondemand::value value, int depth);
  void read_decoder(ondemand::value value, int depth);

  struct Component {  // of any of the three pipelines above
    std::string type;
    bool add_prefix_space = true;  // the defaults of ByteLevel
    bool use_regex = true;
    bool invert = false;
    std::string behavior;
    std::optional<SplitRule> split;
    int members = 0;
  };
  template <typename OnMember>
  Component read_component(ondemand::object object, std::string_view members_key,
                           OnMember&& on_member);
  SplitRule read_pattern(ondemand::value value);
  void add_split(const Component& split);
  void add_byte_level(const Component& byte_level);

  TokenizerSource source_;
  std::string where_ = "top level";
  std::string model_type_ = "BPE";  // what files older than the key mean
  bool has_model_ = false;
  bool has_vocabulary_ = false;
  bool has_merges_ = false;
  bool has_added_tokens_ = false;
  bool has_pre_tokenizer_ = false;
  bool is_byte_level_ = false;
};

/// Keeps the JSON and the strings unescaped from it alive.
struct Storage {
  simdjson::padded_string text;
  ondemand::parser parser;
};

TokenizerSource Reader::read(std::string_view json) {
  auto storage = std::make_shared<Storage>();
  try {
    storage->text = simdjson::padded_string(json);
    ondemand::document document = storage->parser.iterate(storage->text);
    read_root(document.get_object());
    if (!document.current_location().error()) fail("more text follows the tokenizer.");
  } catch (const simdjson::simdjson_error& error) {
    fail(fmt::format("{}", error.what()));
  }
  if (!has_model_) fail("there is no \"model\"; is this a tokenizer.json?");
  if (!is_byte_level_) {
    fail("the pre-tokenizer has no ByteLevel step; only byte-level BPE is supported.");
  }
  source_.storage = std::move(storage);
  return std::move(source_);
}

void Reader::read_root(ondemand::object root) {
  for (auto field : root) {
    const std::string_view key = field.unescaped_key();
    where_ = printable(key);
    if (key == "model") {
      once(has_model_, key);
      read_model(field.value().get_object());
    } else if (key == "added_tokens") {
      once(has_added_tokens_, key);
      ondemand::value value = field.value();
      if (!value.is_null()) read_added_tokens(value.get_array());
    } else if (key == "normalizer") {
      read_normalizer(field.value(), 0);
    } else if (key == "pre_tokenizer") {
      once(has_pre_tokenizer_, key);
      read_pre_tokenizer(field.value(), 0);
    } else if (key == "decoder") {
      read_decoder(field.value(), 0);
    }
    where_ = "top level";
  }
}

void Reader::read_model(ondemand::object model) {
  for (auto field : model) {
    const std::string_view key = field.unescaped_key();
    where_ = fmt::format("model.{}", printable(key));
    ondemand::value value = field.value();
    if (key == "type") {
      model_type_ = std::string(std::string_view(value.get_string()));
    } else if (key == "vocab") {
      once(has_vocabulary_, key);
      read_vocabulary(value);
    } else if (key == "merges") {
      once(has_merges_, key);
      read_merges(value);
    } else if (key == "ignore_merges") {
      source_.ignore_merges = value.get_bool();
    } else if (key == "dropout") {
      if (!value.is_null() && double(value.get_double()) != 0) {
        fail("dropout makes ids random; expected null.");
      }
    } else if (key == "continuing_subword_prefix" || key == "end_of_word_suffix") {
      if (!value.is_null() && !std::string_view(value.get_string()).empty()) {
        fail("marks inside or at the end of words are not supported; expected null.");
      }
    }
  }
  where_ = "model";
  if (model_type_ != "BPE") unsupported("model", model_type_, "only \"BPE\" is.");
  if (!has_vocabulary_ || !has_merges_) fail("\"vocab\" or \"merges\" is missing.");
}

void Reader::read_vocabulary(ondemand::value value) {
  if (value.type() != ondemand::json_type::object) {
    fail("expected an object of token: id, as BPE has it.");
  }
  for (auto field : value.get_object()) {
    const std::string_view text = field.unescaped_key();
    source_.tokens.push_back({text, field.value().get_int64()});
  }
}

void Reader::read_merges(ondemand::value value) {
  for (ondemand::value merge : value.get_array()) source_.merges.push_back(read_merge(merge));
}

/// "left right" or ["left", "right"]: files since 2024 have the latter.
TokenizerSource::Merge Reader::read_merge(ondemand::value value) {
  if (value.type() == ondemand::json_type::string) {
    return split_merge(value.get_string(), source_.merges.size(), source_.name);
  }
  std::array<std::string_view, 2> parts;
  size_t count = 0;
  for (ondemand::value part : value.get_array()) {
    if (count < parts.size()) parts[count] = part.get_string();
    ++count;
  }
  if (count != parts.size()) {
    fail(fmt::format("merge {} has {} parts; expected 2.", source_.merges.size(), count));
  }
  return {parts[0], parts[1]};
}

void Reader::read_added_tokens(ondemand::array tokens) {
  for (ondemand::value token : tokens) read_added_token(token.get_object());
}

void Reader::read_added_token(ondemand::object token) {
  TokenizerSource::Added added = {{}, -1, false};
  std::string_view unsupported_flag;
  for (auto field : token) {
    const std::string_view key = field.unescaped_key();
    ondemand::value value = field.value();
    if (key == "content") {
      added.text = value.get_string();
    } else if (key == "id") {
      added.id = value.get_int64();
    } else if (key == "special") {
      added.special = value.get_bool();
    } else if (key == "single_word" || key == "lstrip" || key == "rstrip") {
      if (value.get_bool()) unsupported_flag = key;
    }
  }
  if (!unsupported_flag.empty()) {
    fail(
        fmt::format("the added token \"{}\" has \"{}\" set; only tokens that match their text and "
                    "nothing around it are supported.",
                    added.text, unsupported_flag));
  }
  source_.added.push_back(added);
}

template <typename OnMember>
Reader::Component Reader::read_component(ondemand::object object, std::string_view members_key,
                                         OnMember&& on_member) {
  Component out;
  for (auto field : object) {
    const std::string_view key = field.unescaped_key();
    ondemand::value value = field.value();
    if (key == "type") {
      out.type = std::string(std::string_view(value.get_string()));
    } else if (key == members_key) {
      for (ondemand::value member : value.get_array()) {
        on_member(member);
        ++out.members;
      }
    } else if (key == "add_prefix_space") {
      out.add_prefix_space = value.get_bool();
    } else if (key == "use_regex") {
      out.use_regex = value.get_bool();
    } else if (key == "invert") {
      out.invert = value.get_bool();
    } else if (key == "behavior") {
      out.behavior = std::string(std::string_view(value.get_string()));
    } else if (key == "pattern") {
      if (value.type() == ondemand::json_type::object) out.split = read_pattern(value);
    }
  }
  return out;
}

/// {"Regex": "..."} or {"String": "..."}.
SplitRule Reader::read_pattern(ondemand::value value) {
  std::optional<SplitRule> rule;
  for (auto field : value.get_object()) {
    const std::string_view key = field.unescaped_key();
    const bool literal = key == "String";
    if (!literal && key != "Regex")
      fail(fmt::format("a pattern of kind \"{}\" is unknown.", printable(key)));
    if (rule) fail("a pattern has more than one expression.");
    rule = SplitRule{std::string(std::string_view(field.value().get_string())), literal};
  }
  if (!rule) fail("a pattern has no expression.");
  return *rule;
}

void Reader::read_normalizer(ondemand::value value, int depth) {
  if (value.is_null()) return;
  if (depth > kMaxNesting) fail("sequences are nested too deeply.");
  const Component component =
      read_component(value.get_object(), "normalizers",
                     [&](ondemand::value member) { read_normalizer(member, depth + 1); });
  if (component.type != "Sequence") {
    unsupported("normalizer", component.type,
                "the DeepSeek V4 family has none, and text must come back byte for byte.");
  }
}

void Reader::read_pre_tokenizer(ondemand::value value, int depth) {
  if (value.is_null()) return;
  if (depth > kMaxNesting) fail("sequences are nested too deeply.");
  const Component component =
      read_component(value.get_object(), "pretokenizers",
                     [&](ondemand::value member) { read_pre_tokenizer(member, depth + 1); });
  if (component.type == "Split") {
    add_split(component);
  } else if (component.type == "ByteLevel") {
    add_byte_level(component);
  } else if (component.type != "Sequence") {
    unsupported("pre-tokenizer", component.type, "\"Sequence\", \"Split\" and \"ByteLevel\" are.");
  }
}

void Reader::add_split(const Component& split) {
  if (is_byte_level_) fail("a Split after ByteLevel would see the byte alphabet, not the text.");
  if (!split.split) fail("a Split has no \"pattern\".");
  if (split.behavior != "Isolated" || split.invert) {
    unsupported("Split behaviour", split.invert ? "invert" : split.behavior,
                "only \"Isolated\" is, where no text is lost or moved.");
  }
  source_.splits.push_back(*split.split);
}

void Reader::add_byte_level(const Component& byte_level) {
  once(is_byte_level_, "ByteLevel");
  if (byte_level.add_prefix_space) {
    fail("ByteLevel with \"add_prefix_space\" is not supported: text must come back as it was.");
  }
  if (byte_level.use_regex) {
    const auto& more = gpt2_splits();
    source_.splits.insert(source_.splits.end(), more.begin(), more.end());
  }
}

void Reader::read_decoder(ondemand::value value, int depth) {
  if (value.is_null()) return;
  if (depth > kMaxNesting) fail("sequences are nested too deeply.");
  const Component component =
      read_component(value.get_object(), "decoders",
                     [&](ondemand::value member) { read_decoder(member, depth + 1); });
  if (component.type != "ByteLevel" && component.type != "Sequence") {
    unsupported("decoder", component.type, "only \"ByteLevel\" is.");
  }
}

}  // namespace

TokenizerSource read_tokenizer_json(std::string_view json, const std::string& name) {
  return Reader(name).read(json);
}

}  // namespace lethe
