#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/batch.h"
#include "model/sequence_state.h"
#include "model/trace.h"
#include "ops/device.h"
#include "tensor/checkpoint.h"

namespace lethe::model {

/// What a forward pass may be asked for, besides advancing the states.
struct ForwardOptions {
  bool keep_hidden = false;  ///< return the rows that draft heads read
  Trace* trace = nullptr;    ///< collects named intermediates
};

struct ForwardResult {
  ops::Matrix logits;  // [rows that asked for logits, vocab] f32, in batch order
  /// With keep_hidden: V4 [rows, hc_mult * dim], the streams after the last layer (for the MTP
  /// block); V4.1 [rows, targets * dim], the DSpark input.
  ops::Matrix hidden;
};

/// Options that change what is computed.
struct ModelOptions {
  /// V4.1: score the index keys that the reference happens to have at hand instead of those of the
  /// layer's own KV source (spec V4.1 4.3, "stale index keys").
  bool stale_index_keys = false;
  /// V4.1: rows that layers past the last KV source run for before each prompt row whose result is
  /// wanted. Nothing: as many as it depends on, so that nothing changes. A number: that many; fewer
  /// than it depends on are the paper's bounded replay, an approximation that changes logits.
  /// Source: spec V4.1 5.
  std::optional<int64_t> replay_rows = std::nullopt;
};

/// A loaded decoder of the V4 family. One forward serves prefill, decode, any chunking and any
/// batch of sequences; a token's result depends on its own sequence's tokens only, bit for bit.
/// Holds views into its Checkpoint, which must outlive it. One forward at a time.
class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const ops::Device& device() const = 0;

  /// An empty sequence.
  virtual SequenceState new_state() const = 0;

  /// Takes in the chunks' tokens (at most one chunk per state) and advances their states. Throws
  /// Error, with all states untouched, for tokens outside the vocabulary or past the context limit.
  virtual ForwardResult forward(std::span<const SequenceChunk> chunks,
                                const ForwardOptions& options) = 0;
  ForwardResult forward(std::span<const SequenceChunk> chunks) {
    return forward(chunks, ForwardOptions{});
  }

  /// Token ids that may be fed, and so sampled: those below this. V4.1: the tokens of the
  /// tokenizer, which may be fewer than vocab_size (the rest have logits, but no text and no Engram
  /// id).
  virtual int64_t num_tokens() const { return config().vocab_size; }

  /// Of those, the ids that forward() refuses: V4.1's image placeholder, whose embedding comes from
  /// the vision tower. They must not be sampled either.
  virtual std::vector<int32_t> refused_tokens() const { return {}; }

  /// How far before a token the tokens of narrow chunks (SequenceChunk::narrow) must end for its
  /// result to be what a full pass gives; 0: this model leaves out nothing, and takes narrow chunks
  /// as any others.
  virtual int64_t narrowing_rows() const { return 0; }

  /// Whether the checkpoint has the draft head (V4: MTP block, V4.1: DSpark).
  virtual bool has_draft() const = 0;
};

/// Builds the decoder of the checkpoint's family. Throws LoadError.
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, const ops::Device& device,
                                  const ModelOptions& options = {});

}  // namespace lethe::model
