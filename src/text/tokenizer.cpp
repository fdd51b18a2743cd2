#include "text/tokenizer.h"

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/bpe.h"
#include "text/prompt_texts.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"

namespace lethe {
namespace {

constexpr std::string_view kPadText = "<｜▁pad▁｜>";

constexpr size_t kMaxText = (size_t{1} << 31) - 1;
/// The real file has 9 MB.
constexpr size_t kMaxFile = size_t{1} << 30;

/// The words that are tokens, for tokenizers that look there before they merge.
std::optional<TokenIndex> index_words(const TokenizerSource& source, const Vocabulary& vocabulary) {
  if (!source.ignore_merges) return std::nullopt;
  TokenIndex index(source.tokens.size());
  for (const auto& token : source.tokens) {
    const auto id = static_cast<int32_t>(token.id);
    if (!token.unused && !vocabulary.is_added(id)) index.insert(vocabulary.bytes(id), id);
  }
  return index;
}

}  // namespace

struct Tokenizer::Impl {
  /// What one encoding thread needs; kept for the next one, words remembered.
  struct Workspace {
    explicit Workspace(const Impl& impl) : merger(impl.merges, impl.vocabulary.byte_tokens()) {}
    BpeMerger merger;
    WordCache cache;
  };

  Impl(const TokenizerSource& source, const TokenIndex& index)
      : name(source.name),
        vocabulary(source, index),
        merges(resolve_merges(source, index, vocabulary)),
        words(index_words(source, vocabulary)),
        pre_tokenizer(source.splits, source.name),
        bos(named_token(source.bos, prompt_texts::kBos)),
        eos(named_token(source.eos, prompt_texts::kEos)),
        pad(named_token(source.pad, kPadText)) {}

  std::optional<int32_t> named_token(std::optional<int64_t> id, std::string_view text) const {
    if (!id) return vocabulary.added().id_of(text);
    if (*id < 0 || *id >= vocabulary.size() || !vocabulary.has(static_cast<int32_t>(*id))) {
      throw LoadError("{}: token {} is named for the role of {}, but there is no such token.", name,
                      *id, text);
    }
    return static_cast<int32_t>(*id);
  }

  std::unique_ptr<Workspace> take_workspace() const {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<Workspace>(*this);
    auto workspace = std::move(idle.back());
    idle.pop_back();
    return workspace;
  }
  void give_back(std::unique_ptr<Workspace> workspace) const {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(workspace));
  }

  void encode_word(std::string_view word, Workspace& room, std::vector<int32_t>& ids) const;
  void encode_plain(std::string_view text, Workspace& room, std::vector<int32_t>& ids) const;

  std::string name;
  Vocabulary vocabulary;
  MergeTable merges;
  std::optional<TokenIndex> words;
  PreTokenizer pre_tokenizer;
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::optional<int32_t> pad;

  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Workspace>> idle;  // as many as have ever run at once
};

void Tokenizer::Impl::encode_word(std::string_view word, Workspace& room,
                                  std::vector<int32_t>& ids) const {
  if (room.cache.find(word, ids)) return;
  if (words) {
    if (const auto id = words->find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  const size_t first = ids.size();
  room.merger.encode(word, ids);
  room.cache.insert(word, std::span(ids).subspan(first));
}

void Tokenizer::Impl::encode_plain(std::string_view text, Workspace& room,
                                   std::vector<int32_t>& ids) const {
  pre_tokenizer.for_each_piece(text,
                               [&](std::string_view piece) { encode_word(piece, room, ids); });
}

Tokenizer::Tokenizer(const TokenizerSource& source)
    : impl_(std::make_unique<const Impl>(source, index_tokens(source))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::string& path) {
  const MappedFile file = MappedFile::open(path);
  const auto bytes = file.bytes();
  if (bytes.size() > kMaxFile) {
    throw LoadError("{}: has {} bytes; a tokenizer of more than {} is not read.", path,
                    bytes.size(), kMaxFile);
  }
  return from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name) {
  return Tokenizer(read_tokenizer_json(json, name));
}

Tokenizer Tokenizer::from_gguf(const GgufTokenizer& gguf) {
  return Tokenizer(read_gguf_tokenizer(gguf));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<int32_t> ids;
  append_encoded(text, options, ids);
  return ids;
}

void Tokenizer::append_encoded(std::string_view text, EncodeOptions options,
                               std::vector<int32_t>& ids) const {
  if (text.size() > kMaxText) {
    throw Error("a text of {} bytes cannot be tokenized at once; at most {} can.", text.size(),
                kMaxText);
  }
  // Not given back when something throws: its room may be in any state then.
  auto room = impl_->take_workspace();
  size_t from = 0;
  if (options.parse_special) {
    const AddedTokens& added = impl_->vocabulary.added();
    while (const auto match = added.find(text, from)) {
      impl_->encode_plain(text.substr(from, match->begin - from), *room, ids);
      ids.push_back(match->id);
      from = match->begin + match->length;
    }
  }
  impl_->encode_plain(text.substr(from), *room, ids);
  impl_->give_back(std::move(room));
}

size_t Tokenizer::count_unencodable(std::string_view text) const noexcept {
  const auto& tokens = impl_->vocabulary.byte_tokens();
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [&](char c) {
    return tokens[static_cast<unsigned char>(c)] == kNoByteToken;
  }));
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (!has_token(id)) {
      throw UsageError("{} is no token of {}, whose ids are 0 to {}.", id, impl_->name, size() - 1);
    }
    text += token_bytes(id);
  }
  return text;
}

int32_t Tokenizer::size() const noexcept {
  return impl_->vocabulary.size();
}
bool Tokenizer::has_token(int32_t id) const noexcept {
  return impl_->vocabulary.has(id);
}
std::string_view Tokenizer::token_bytes(int32_t id) const noexcept {
  return impl_->vocabulary.bytes(id);
}
bool Tokenizer::is_added(int32_t id) const noexcept {
  return impl_->vocabulary.is_added(id);
}
bool Tokenizer::is_special(int32_t id) const noexcept {
  return impl_->vocabulary.is_special(id);
}

std::optional<int32_t> Tokenizer::find_added(std::string_view text) const {
  return impl_->vocabulary.added().id_of(text);
}

int32_t Tokenizer::added_token(std::string_view text) const {
  if (const auto id = find_added(text)) return *id;
  throw LoadError(
      "{}: there is no added token \"{}\", which the prompt format needs. Is this the tokenizer of "
      "another model?",
      impl_->name, text);
}

std::optional<int32_t> Tokenizer::bos() const noexcept {
  return impl_->bos;
}
std::optional<int32_t> Tokenizer::eos() const noexcept {
  return impl_->eos;
}
std::optional<int32_t> Tokenizer::pad() const noexcept {
  return impl_->pad;
}

}  // namespace lethe
