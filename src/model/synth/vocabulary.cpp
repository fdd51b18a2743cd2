#include "model/synth/vocabulary.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"

namespace lethe::synth {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kReleasedVocabSize = 129280;
/// In the released tokenizer <｜User｜> is 128803: four ids after the first of our special tokens.
constexpr int64_t kReleasedFirstSpecial = 128799;
constexpr size_t kReleasedImage = 129264;

std::string utf8_of_two(uint32_t code_point) {
  return {static_cast<char>(0xc0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 63))};
}

/// GPT-2's byte alphabet: printable bytes are their own code point, the other 68 follow from
/// U+0100.
std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const uint32_t code_point = printable ? byte : next++;
    tokens.push_back(code_point < 0x80 ? std::string(1, static_cast<char>(code_point))
                                       : utf8_of_two(code_point));
  }
  return tokens;
}

std::string placeholder(int64_t n) {
  return "<｜place▁holder▁no▁" + std::to_string(n) + "｜>";
}

/// In the order of their ids. The first is the noise token or, in V4, a placeholder in its place.
std::vector<std::string> trailing_specials(ModelFamily family) {
  std::vector<std::string> texts = {
      family == ModelFamily::V41 ? std::string(kNoiseToken) : placeholder(0),
      "<｜fim▁hole｜>",
      "<｜fim▁begin｜>",
      "<｜fim▁end｜>",
      "<｜User｜>",
      "<｜Assistant｜>",
      "<think>",
      "</think>",
      "｜DSML｜",
      "<｜latest_reminder｜>",
      "<｜action｜>",
      "<｜query｜>",
      "<｜authority｜>",
      "<｜domain｜>",
      "<｜title｜>",
      "<｜read_url｜>"};
  if (family == ModelFamily::V41) {
    texts.emplace_back("<｜System｜>");
    texts.emplace_back(kImageToken);
  }
  return texts;
}

/// Merges of letters by falling frequency, at first of two, then of three and four; a leading space
/// ("Ġ") counts as a letter. Every result is a new token.
class MergeList {
 public:
  using Emit = std::function<bool(const std::string&, const std::string&)>;
  /// Calls emit(left, right) until it returns false; false if the merges ran out first.
  static bool for_each(const Emit& emit) {
    std::vector<std::string> pairs;
    for (const std::string& a : letters(true)) {
      for (const std::string& b : letters(false)) {
        pairs.push_back(a + b);
        if (!emit(a, b)) return true;
      }
    }
    for (const std::string& pair : pairs) {
      for (const std::string& c : letters(false)) {
        if (!emit(pair, c)) return true;
      }
    }
    const size_t plain = letters(false).size();  // pairs that begin with a space come first
    for (const std::string& pair : pairs) {
      for (size_t i = plain; i < pairs.size(); ++i) {
        if (!emit(pair, pairs[i])) return true;
      }
    }
    return false;
  }

 private:
  static std::vector<std::string> letters(bool with_space) {
    std::vector<std::string> texts;
    if (with_space) texts.emplace_back("Ġ");
    for (const char c : std::string_view("etaoinshrdlucmfwypvbgkjqxz")) texts.emplace_back(1, c);
    return texts;
  }
};

Json added_tokens(const Vocabulary& vocabulary) {
  Json added = Json::array();
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_special(id)) continue;
    const std::string& text = vocabulary.tokens[static_cast<size_t>(id)];
    const bool thinking = text == "<think>" || text == "</think>";
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", !thinking}});
  }
  return added;
}

/// The three successive splits of DeepSeek-V3's pre-tokenizer, then bytes. spec/formats.md 3.3.
Json pre_tokenizer() {
  const auto split = [](const char* regex) {
    return Json{{"type", "Split"},
                {"pattern", {{"Regex", regex}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  };
  const Json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", false}};
  return {
      {"type", "Sequence"},
      {"pretokenizers",
       {split("\\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"),
        split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
              "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
        bytes}}};
}

}  // namespace

int64_t Vocabulary::id_of_special(std::string_view text) const {
  for (int64_t id = 0; id < size(); ++id) {
    if (is_special(id) && tokens[static_cast<size_t>(id)] == text) return id;
  }
  LETHE_CHECK(false, "no special token {}", text);
  return -1;
}

int64_t min_vocab_size(ModelFamily family) {
  return kPaddingId + 1 + 256 + static_cast<int64_t>(trailing_specials(family).size());
}

Vocabulary make_vocabulary(ModelFamily family, int64_t vocab_size) {
  if (vocab_size < min_vocab_size(family)) {
    throw UsageError(
        "A vocabulary of {} entries is too small: 256 bytes and the special tokens need {}.",
        vocab_size, min_vocab_size(family));
  }
  const std::vector<std::string> specials = trailing_specials(family);
  Vocabulary v;
  v.first_trailing_special = vocab_size == kReleasedVocabSize
                                 ? kReleasedFirstSpecial
                                 : vocab_size - static_cast<int64_t>(specials.size());
  v.tokens = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"};
  v.num_leading_special = v.size();
  const std::vector<std::string> bytes = byte_tokens();
  v.tokens.insert(v.tokens.end(), bytes.begin(), bytes.end());
  const bool enough = v.size() == v.first_trailing_special ||
                      MergeList::for_each([&v](const std::string& left, const std::string& right) {
                        v.merges.emplace_back(left, right);
                        v.tokens.push_back(left + right);
                        return v.size() < v.first_trailing_special;
                      });
  if (!enough) throw UsageError("A vocabulary of {} entries is too large.", vocab_size);
  v.tokens.insert(v.tokens.end(), specials.begin(), specials.end());
  for (int64_t n = 1; v.size() < vocab_size; ++n) v.tokens.push_back(placeholder(n));
  if (family == ModelFamily::V41 && vocab_size == kReleasedVocabSize) {
    const int64_t image = v.id_of_special(kImageToken);
    std::swap(v.tokens[static_cast<size_t>(image)], v.tokens[kReleasedImage]);
  }
  return v;
}

std::string tokenizer_json(const Vocabulary& vocabulary) {
  // Written by hand around the two big lists: an ordered JSON object finds its keys by search.
  std::string vocab;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    vocab += id == 0 ? "" : ",\n";
    vocab += Json(vocabulary.tokens[static_cast<size_t>(id)]).dump() + ":" + std::to_string(id);
  }
  std::string merges;
  for (const auto& [left, right] : vocabulary.merges) {
    merges += merges.empty() ? "" : ",\n";
    merges += Json(left + " " + right).dump();
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", true},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  Json head = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", added_tokens(vocabulary)},
               {"normalizer", {{"type", "Sequence"}, {"normalizers", Json::array()}}},
               {"pre_tokenizer", pre_tokenizer()},
               {"post_processor", byte_level},
               {"decoder", byte_level}};
  std::string text = head.dump();
  text.pop_back();  // the closing brace: "model" follows
  return text +
         ",\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
         "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
         "\"byte_fallback\":false,\"vocab\":{" +
         vocab + "},\"merges\":[" + merges + "]}}\n";
}

std::string tokenizer_config_json(const Vocabulary& vocabulary) {
  const Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                     {"add_bos_token", false},
                     {"add_eos_token", false},
                     {"bos_token", vocabulary.tokens[0]},
                     {"eos_token", vocabulary.tokens[1]},
                     {"pad_token", vocabulary.tokens[kPaddingId]},
                     {"clean_up_tokenization_spaces", false}};
  return json.dump(2) + "\n";
}

}  // namespace lethe::synth
