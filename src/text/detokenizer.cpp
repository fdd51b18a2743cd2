#include "text/detokenizer.h"

#include "text/code_point.h"

namespace lethe {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  std::string waiting = std::move(pending_);
  pending_.clear();
  waiting += bytes;
  std::string out;
  for (size_t at = 0; at < waiting.size();) {
    const CodePoint c = code_point_at(waiting, at);
    if (c.kind == CodePoint::Kind::Truncated) {
      pending_ = waiting.substr(at);
      break;
    }
    out += c.kind == CodePoint::Kind::Valid ? std::string_view(waiting).substr(at, c.length)
                                            : kReplacement;
    at += c.length;
  }
  return out;
}

std::string Utf8Stream::finish() {
  const bool waiting = !pending_.empty();
  pending_.clear();
  return waiting ? std::string(kReplacement) : std::string();
}

std::string Detokenizer::push(int32_t id) {
  // A byte that is never part of UTF-8 ends whatever waits and gives one U+FFFD.
  return stream_.push(tokenizer_.has_token(id) ? tokenizer_.token_bytes(id) : "\xFF");
}

}  // namespace lethe
