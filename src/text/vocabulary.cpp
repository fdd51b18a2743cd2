#include "text/vocabulary.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/printable.h"
#include "text/byte_alphabet.h"

namespace lethe {
namespace {

/// Offsets into bytes_ are 32-bit; a real vocabulary has about one megabyte.
constexpr size_t kMaxBytes = size_t{1} << 30;

void index_one(TokenIndex& index, const TokenizerSource& source, std::string_view text,
               int64_t id) {
  if (id < 0 || id >= MergeTable::kMaxTokens) {
    throw LoadError("{}: token \"{}\" has the id {}; expected 0 to {}.", source.name,
                    printable(text), id, MergeTable::kMaxTokens - 1);
  }
  const auto other = index.insert(text, static_cast<int32_t>(id));
  if (other && *other != id) {
    throw LoadError("{}: token \"{}\" has two ids, {} and {}; text would be ambiguous.",
                    source.name, printable(text), *other, id);
  }
}

}  // namespace

TokenIndex index_tokens(const TokenizerSource& source) {
  TokenIndex index(source.tokens.size() + source.added.size());
  for (const auto& token : source.tokens) {
    if (!token.unused) index_one(index, source, token.text, token.id);
  }
  for (const auto& added : source.added) index_one(index, source, added.text, added.id);
  return index;
}

Vocabulary::Vocabulary(const TokenizerSource& source, const TokenIndex& index) {
  make_room(source);
  set_tokens(source);
  set_added_tokens(source);
  set_byte_tokens(source, index);
}

void Vocabulary::make_room(const TokenizerSource& source) {
  int64_t top = -1;
  size_t bytes = 0;
  for (const auto& token : source.tokens) {
    top = std::max(top, token.id);
    bytes += token.text.size();
  }
  for (const auto& added : source.added) {
    top = std::max(top, added.id);
    bytes += added.text.size();
  }
  if (bytes > kMaxBytes) {
    throw LoadError("{}: the tokens have {} bytes of text; at most {} are supported.", source.name,
                    bytes, kMaxBytes);
  }
  LETHE_CHECK(top < MergeTable::kMaxTokens, "index_tokens() checks ids");
  tokens_.resize(static_cast<size_t>(top + 1));
  bytes_.reserve(bytes);
}

void Vocabulary::set_bytes(int64_t id, std::string_view text) {
  Token& token = tokens_[static_cast<size_t>(id)];
  token.begin = static_cast<uint32_t>(bytes_.size());
  append_token_bytes(text, bytes_);
  token.length = static_cast<uint32_t>(bytes_.size() - token.begin);
  token.flags = kPresent;
}

void Vocabulary::set_tokens(const TokenizerSource& source) {
  for (const auto& token : source.tokens) {
    if (has(static_cast<int32_t>(token.id))) {
      throw LoadError("{}: two tokens have the id {}; one of them is \"{}\".", source.name,
                      token.id, printable(token.text));
    }
    set_bytes(token.id, token.text);
  }
}

void Vocabulary::set_added_tokens(const TokenizerSource& source) {
  size_t text_size = 0;
  for (const auto& added : source.added) text_size += added.text.size();
  added_texts_.reserve(text_size);  // entries point into it: it must not move
  std::vector<AddedTokens::Entry> entries;
  for (const auto& added : source.added) {
    if (added.text.empty() || added.text.size() > AddedTokens::kMaxBytes) {
      throw LoadError("{}: added token {} has {} bytes of text; expected 1 to {}.", source.name,
                      added.id, added.text.size(), AddedTokens::kMaxBytes);
    }
    const auto id = static_cast<int32_t>(added.id);
    if (is_added(id)) {
      throw LoadError("{}: two added tokens have the id {}; one of them is \"{}\".", source.name,
                      id, printable(added.text));
    }
    std::string literal;
    append_token_bytes(added.text, literal);
    if (!has(id)) {
      set_bytes(id, added.text);
    } else if (bytes(id) != literal) {
      throw LoadError("{}: added token \"{}\" has the id {}, which the vocabulary gives to \"{}\".",
                      source.name, printable(added.text), id, printable(bytes(id)));
    }
    Token& token = tokens_[static_cast<size_t>(id)];
    token.flags |= added.special ? kAdded | kSpecial : kAdded;
    const size_t begin = added_texts_.size();
    added_texts_ += added.text;
    entries.push_back({std::string_view(added_texts_).substr(begin), id});
  }
  added_ = AddedTokens(std::move(entries));
}

void Vocabulary::set_byte_tokens(const TokenizerSource& source, const TokenIndex& index) {
  bool any = false;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string text = byte_alphabet_char(static_cast<uint8_t>(byte));
    const auto id = index.find(text);
    byte_tokens_[byte] = id.value_or(kNoByteToken);
    if (!id) continue;
    any = true;
    if (is_added(*id)) {
      throw LoadError(
          "{}: \"{}\", the token of the byte {}, is an added token; plain text would "
          "make added tokens.",
          source.name, text, byte);
    }
  }
  if (!any) {
    throw LoadError("{}: no byte has a token of its own; this is not a byte-level vocabulary.",
                    source.name);
  }
}

std::vector<MergeTable::Merge> resolve_merges(const TokenizerSource& source,
                                              const TokenIndex& index,
                                              const Vocabulary& vocabulary) {
  if (source.merges.size() > MergeTable::kMaxMerges) {
    throw LoadError("{}: {} merges; at most {} are supported.", source.name, source.merges.size(),
                    MergeTable::kMaxMerges);
  }
  const size_t count = source.merges.size();
  std::string joined;  // all results, one after the other
  for (const auto& merge : source.merges) (joined += merge.left) += merge.right;
  std::vector<std::string_view> texts;  // left, right, result of each
  texts.reserve(3 * count);
  for (size_t at = 0; const auto& merge : source.merges) {
    const size_t size = merge.left.size() + merge.right.size();
    texts.insert(texts.end(), {merge.left, merge.right, std::string_view(joined).substr(at, size)});
    at += size;
  }
  std::vector<int32_t> ids(texts.size());
  index.find_all(texts, ids);
  if (const auto absent = std::find(ids.begin(), ids.end(), TokenIndex::kAbsent);
      absent != ids.end()) {
    const auto at = static_cast<size_t>(absent - ids.begin());
    const auto& merge = source.merges[at / 3];
    throw LoadError(
        "{}: the merge of \"{}\" and \"{}\" names a token that the vocabulary lacks: \"{}\".",
        source.name, printable(merge.left), printable(merge.right), printable(texts[at]));
  }
  std::vector<MergeTable::Merge> merges;
  merges.reserve(count);
  for (size_t i = 0; i < ids.size(); i += 3) {
    if (!vocabulary.is_added(ids[i + 2])) merges.push_back({ids[i], ids[i + 1], ids[i + 2]});
  }
  return merges;
}

}  // namespace lethe
