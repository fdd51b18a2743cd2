#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/sampling_params.h"

namespace lethe::engine {

using RequestId = uint64_t;

/// Tokens to go on from, and how.
struct Request {
  std::vector<int32_t> prompt;  ///< at least one token
  SamplingParams sampling;
  int64_t max_tokens = 0;            ///< to sample at most, 1 or more
  int64_t num_tokens = 0;            ///< only ids below are sampled; 0: all that the model takes
  std::vector<int32_t> stop_tokens;  ///< end the turn; counted in the usage, not delivered
  std::string cache_scope;           ///< requests of different scopes share no cached prefix
  bool use_prefix_cache = true;      ///< resume from cached states, and leave some
  std::shared_ptr<TokenMask> mask;   ///< restricts what may be sampled; null: nothing
};

enum class StopReason {
  stop_token,  ///< one of Request::stop_tokens was sampled
  length,      ///< max_tokens were sampled
  sink,        ///< RequestSink::on_token said that it is enough
  cancelled,   ///< Engine::cancel
  shutdown,    ///< the engine ended before the request did
  failed,      ///< see Outcome::error
};

/// What a request took. Tokens of the prompt are counted once, cached or not.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;      ///< of the prompt, not computed again
  int64_t completion_tokens = 0;  ///< sampled, the stop token included
  double waiting_s = 0;           ///< before the first token was computed
  double prefill_s = 0;           ///< from there to the first sampled token
  double decode_s = 0;            ///< from there to the end
};

struct Outcome {
  StopReason reason = StopReason::failed;
  std::string error;  ///< one plain paragraph, where the reason is `failed`
  Usage usage;
};

/// Takes what a request gives. Called on the engine's thread, which waits: be quick, never block,
/// never call the engine back except submit() and cancel().
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /// `done` of `total` prompt tokens are taken in, `cached` of them from the cache. When the
  /// request starts, and after each step that takes in some.
  virtual void on_prefill(int64_t done, int64_t total, int64_t cached) {
    static_cast<void>(done), static_cast<void>(total), static_cast<void>(cached);
  }
  /// The next token. False: no more, the request ends with StopReason::sink. May throw Error: the
  /// request fails with its text.
  virtual bool on_token(const SampledToken& token) = 0;
  /// The end, exactly once, after everything else. The request's memory is free by then.
  virtual void on_finish(const Outcome& outcome) noexcept = 0;
};

}  // namespace lethe::engine
