#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "text/stream_parser.h"

namespace lethe::serve {

/// What became certain with one more token (or with the end).
struct ChatUpdate {
  std::vector<StreamEvent> events;  ///< may be empty: the text waits for its continuation
  /// The token, where the request wants log probabilities.
  std::optional<engine::SampledToken> token;
  bool token_is_reasoning = false;
};

/// Token counts and times of an answer.
struct ChatUsage : engine::Usage {
  int64_t reasoning_tokens = 0;  ///< of the completion, up to and including the end of thinking
};

struct ChatResult {
  /// stop, length, tool_calls or insufficient_system_resource (the engine could not go on).
  std::string finish_reason;
  std::string error;       ///< why not, where it could not; else empty
  bool failed = false;     ///< the error is not an end that was asked for: see `error`
  bool cancelled = false;  ///< ended by ChatService::cancel
  ChatUsage usage;
  size_t num_unfinished_calls = 0;  ///< see StreamFinish
  std::optional<std::string> stop_sequence;
};

/// Hears of an answer as it comes. Called on the engine's thread, which waits: be quick, never
/// block.
class ChatListener {
 public:
  virtual ~ChatListener() = default;
  /// `done` of `total` prompt tokens are taken in, `cached` of them from the cache.
  virtual void on_prefill(int64_t done, int64_t total, int64_t cached) {
    static_cast<void>(done), static_cast<void>(total), static_cast<void>(cached);
  }
  virtual void on_update(ChatUpdate update) = 0;
  /// The end, exactly once, after everything else.
  virtual void on_result(const ChatResult& result) noexcept = 0;
};

}  // namespace lethe::serve
