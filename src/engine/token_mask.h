#pragma once

#include <cstdint>
#include <span>

namespace lethe::engine {

/// Restricts what one sequence may say next (a grammar). Used by one thread at a time.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  /// `logits`: f32 [num_tokens], of the ids that can be sampled. Sets those of forbidden tokens to
  /// -infinity and leaves the others as they are. Called anew for every token.
  virtual void apply(std::span<float> logits) = 0;
  /// The sequence goes on with this token. The engine calls it, the sampler does not: a sampled
  /// token may yet be thrown away.
  virtual void accept(int32_t token) = 0;
};

}  // namespace lethe::engine
