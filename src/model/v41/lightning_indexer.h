#pragma once

#include <cstdint>
#include <string>

#include "model/batch.h"
#include "model/trace.h"
#include "model/v41/shared_streams.h"
#include "model/weight_loader.h"
#include "ops/index_select.h"
#include "ops/rope.h"

namespace lethe::model::v41 {

/// The query side of the indexer: chooses, for every token, the `index_topk` compressed rows that
/// this layer and the layers after it attend to. Past the candidate source only rows of that
/// layer's best blocks are looked at (two-level top-k). Source: spec V4.1 4.3.
class LightningIndexer {
 public:
  /// What a layer does with candidate blocks.
  enum class Candidates : uint8_t { Ignore, Publish, Obey };
  struct Shape {
    int64_t ratio = 0;
    Candidates candidates = Candidates::Ignore;
    const ops::RopeTable* rope = nullptr;  ///< must outlive the indexer
  };
  /// Reads PREFIX.wq_b, .weights_proj ("layers.2.attn.indexer").
  LightningIndexer(const WeightLoader& loader, const std::string& prefix, const Shape& shape,
                   ops::Numerics numerics);

  /// Sets shared.selected and, for the candidate source, shared.candidate_blocks. x: [tokens, dim]
  /// normed input, qr: [tokens, q_lora_rank]. The index keys of the batch's tokens must be stored.
  void forward(const ops::Device& device, const ops::Matrix& x, const ops::Matrix& qr,
               const Batch& batch, SharedStreams& shared, const TraceScope& trace) const;

 private:
  ops::Matrix queries(const ops::Device& device, const ops::Matrix& qr, const Batch& batch) const;
  RecycledVector<ops::KeyRun> runs(int64_t visible, const RecycledVector<int32_t>* blocks) const;
  void select_row(const ops::Device& device, const ops::IndexQuery& query, int64_t row,
                  int64_t visible, bool share_keys, SharedStreams& shared,
                  const TraceScope& trace) const;

  Shape shape_;
  int64_t heads_;
  int64_t dim_;
  int64_t topk_;
  int64_t candidate_topk_blocks_;
  int64_t candidate_block_size_;
  ops::RowCodec key_codec_;
  ops::Linear wq_b_;
  ops::Linear weights_proj_;
};

}  // namespace lethe::model::v41
