#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/reference/reference_math.h"
#include "model/v41/engram_hash.h"
#include "tensor/checkpoint.h"

namespace lethe::model::reference {

/// A prompt from position 0.
struct V41Input {
  std::vector<int32_t> tokens;
  /// Per token, empty without images: inside an image span?
  std::vector<bool> in_image;
  /// Position -> embedding that replaces the token's own (image rows), [hidden_size].
  std::map<int64_t, std::vector<float>> embeddings;
};

/// What one layer computed, [tokens] each.
struct V41LayerTrace {
  Rows engram_gate;                            ///< [hc]; Engram layers
  std::vector<Rows> engram_out;                ///< stream after injection; Engram layers
  Rows attn_out, ffn_out;                      ///< [D]
  std::vector<Rows> h;                         ///< [hc][D] stream after the layer
  Rows window_kv;                              ///< [head_dim]
  Rows compressed, index_keys;                 ///< KV sources: [rows][..]
  Rows index_scores;                           ///< index sources: [rows], before candidates
  std::vector<std::vector<int64_t>> selected;  ///< index sources: rows, ascending
  std::vector<std::vector<bool>> candidates;   ///< candidate source: [rows]
  std::vector<std::vector<int64_t>> experts;   ///< falling biased score
  Rows expert_weights;
};

struct V41Trace {
  std::vector<V41LayerTrace> layers;
  Rows last_pre;      ///< [hc]: pre-mix of the last feed-forward
  Rows main_hidden;   ///< [targets * D]: what DSpark sees
  Rows final_hidden;  ///< [D]: after the last norm
  Rows logits;        ///< [vocab]
};

/// One draft call of DSpark.
struct V41Draft {
  std::vector<int32_t> tokens;            ///< anchor, then the drafts
  Rows logits;                            ///< [block][vocab], Markov bias included
  Row confidence;                         ///< [block], raw
  std::vector<std::vector<Rows>> stages;  ///< [stage][block][hc][D]
};

/// V4.1 as the paper writes it: scalar, whole prompt, double precision, nothing quantized but the
/// weights, one function per equation. For tiny models: it decodes every weight it meets and keeps
/// it. Not thread-safe. Source: spec/deepseek-v4.1.md sections 4, 6.5, 7; "f32 mode" of section 8.
class V41Reference {
 public:
  /// `token_map`: compressed id by token id. Keeps a reference to the checkpoint.
  V41Reference(const Checkpoint& checkpoint, std::vector<int32_t> token_map);

  V41Trace forward(const V41Input& input);
  /// Drafts after position `position` was processed and `anchor` was chosen for the next one.
  /// `main_hidden`: of positions 0 to `position` at least.
  V41Draft draft(const Rows& main_hidden, int64_t position, int32_t anchor);

 private:
  /// What KV sources and index sources publish for the layers after them.
  struct Published {
    int64_t ratio = 0;
    Rows compressed, index_keys;
    std::vector<std::vector<int64_t>> selected;
    std::vector<std::vector<bool>> candidates;
  };
  /// The query side that attention and indexer share.
  struct Queries {
    Rows latent;  ///< [q_lora_rank]
    Rows heads;   ///< [heads * head_dim], rotated
  };

  const Matrix& weight(const std::string& name);
  Row rms(std::span<const double> x, const std::string& name);
  Rows rms(const Rows& x, const std::string& name);
  const RopeTable& table(int64_t ratio) const { return ratio == 0 ? plain_ : yarn_; }

  std::vector<Rows> embed(const V41Input& input);
  void engram(int64_t layer, const V41Input& input, std::vector<Rows>& h, V41LayerTrace& trace);
  std::vector<int64_t> engram_rows(size_t engram_layer, const V41Input& input) const;
  std::vector<Mix> mixes(const std::vector<Rows>& h, const std::string& name);

  Queries queries(const std::string& attn, const Rows& x, int64_t ratio, int64_t first_position);
  Rows window_kv(const std::string& attn, const Rows& x, int64_t ratio, int64_t first_position);
  void compress(int64_t layer, const Rows& x, Published& published, V41LayerTrace& trace);
  Rows pooled_latents(const std::string& compressor, const Rows& x, int64_t ratio);
  Rows index_scores(int64_t layer, const Rows& x, const Queries& q, const Published& published);
  std::vector<bool> candidate_mask(const Row& scores, int64_t visible) const;
  void select(int64_t layer, const Rows& x, const Queries& q, Published& published,
              V41LayerTrace& trace);
  Row attend(const std::string& attn, const Row& q, const std::vector<const Row*>& keys,
             int64_t position, int64_t ratio);
  Rows attention(int64_t layer, const Rows& x, Published& published, V41LayerTrace& trace);
  Rows draft_attention(const std::string& attn, const Rows& x, const Rows& ring, int64_t position);

  Row expert(const std::string& name, const Row& x, double routing_weight, double limit);
  Row moe(const std::string& ffn, const Row& x, bool in_image, int64_t top, double limit,
          V41LayerTrace& trace);
  Row head(const Rows& h, std::span<const double> pre, const std::string& norm, Row* collapsed,
           Row* normed);

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  std::vector<int32_t> token_map_;
  v41::EngramHash hash_;
  RopeTable plain_, yarn_;
  std::map<std::string, Matrix> weights_;
};

}  // namespace lethe::model::reference
