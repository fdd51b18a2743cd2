#include "model/v41/lightning_indexer.h"

#include <algorithm>
#include <limits>

#include "ops/top_k.h"
#include "quant/activation.h"

namespace lethe::model::v41 {

namespace {

constexpr int64_t kKeysPerPiece = 1024;  // of one query's keys, when they are shared out
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

LightningIndexer::LightningIndexer(const WeightLoader& loader, const std::string& prefix,
                                   const Shape& shape, ops::Numerics numerics)
    : shape_(shape),
      heads_(loader.config().index_n_heads),
      dim_(loader.config().index_head_dim),
      topk_(loader.config().index_topk),
      candidate_topk_blocks_(loader.config().candidate_topk_blocks),
      candidate_block_size_(loader.config().candidate_block_size),
      key_codec_(numerics, ops::RowCodec::Kind::Fp4, dim_, loader.config().qk_rope_head_dim),
      wq_b_(loader.linear(prefix + ".wq_b", ops::LinearRole::Fp8)),
      weights_proj_(loader.linear(prefix + ".weights_proj", ops::LinearRole::Bf16)) {}

ops::Matrix LightningIndexer::queries(const ops::Device& device, const ops::Matrix& qr,
                                      const Batch& batch) const {
  ops::Matrix q = ops::linear(device, qr, wq_b_);
  ops::rope(device, q, heads_, *shape_.rope, batch.positions);
  if (!device.official()) return q;
  device.for_rows(q.rows(), [&](int64_t t) {
    for (int64_t h = 0; h < heads_; ++h) {
      quant::fake_quantize_fp4(q.part(t, h, heads_).data(), dim_);
    }
  });
  return q;
}

/// The keys to be scored, in ascending runs: all visible ones, or those of the candidate blocks.
std::vector<LightningIndexer::Piece> LightningIndexer::pieces(
    int64_t visible, const std::vector<int32_t>* blocks) const {
  std::vector<Piece> pieces;
  int64_t out = 0;
  const auto add = [&](int64_t begin, int64_t end) {
    const bool joins =
        !pieces.empty() && pieces.back().end == begin && end - pieces.back().begin <= kKeysPerPiece;
    if (joins) {
      pieces.back().end = end;
    } else {
      pieces.push_back({begin, end, out});
    }
    out += end - begin;
  };
  if (blocks == nullptr) {
    for (int64_t j = 0; j < visible; j += kKeysPerPiece) {
      add(j, std::min(j + kKeysPerPiece, visible));
    }
    return pieces;
  }
  for (const int32_t block : *blocks) {
    const int64_t begin = block * candidate_block_size_;
    if (begin < visible) add(begin, std::min(begin + candidate_block_size_, visible));
  }
  return pieces;
}

/// The blocks with the best rows; the one that holds the newest row is always among them.
std::vector<int32_t> LightningIndexer::best_blocks(std::span<const float> scores) const {
  const auto size = static_cast<size_t>(candidate_block_size_);
  std::vector<float> best((scores.size() + size - 1) / size, -kInfinity);
  for (size_t j = 0; j < scores.size(); ++j) best[j / size] = std::max(best[j / size], scores[j]);
  if (!best.empty()) best.back() = kInfinity;
  std::vector<int32_t> blocks = ops::top_k(best, candidate_topk_blocks_);
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

void LightningIndexer::choose(std::span<const float> scores, std::span<const Piece> pieces,
                              std::span<int32_t> selected) const {
  std::vector<int32_t> best = ops::top_k(scores, topk_);
  std::sort(best.begin(), best.end());
  auto piece = pieces.begin();
  for (size_t i = 0; i < best.size(); ++i) {
    while (best[i] >= piece->out + (piece->end - piece->begin)) ++piece;
    selected[i] = static_cast<int32_t>(piece->begin + best[i] - piece->out);
  }
}

void LightningIndexer::select_row(const ops::Device& device, const ops::IndexQuery& query,
                                  int64_t row, int64_t visible, bool share_keys,
                                  SharedStreams& shared, const TraceScope& trace) const {
  const auto at = static_cast<size_t>(row);
  const bool obeys = shape_.candidates == Candidates::Obey;
  const std::vector<Piece> runs =
      pieces(visible, obeys ? &shared.candidate_blocks.at(at) : nullptr);
  const int64_t count = runs.empty() ? 0 : runs.back().out + runs.back().end - runs.back().begin;
  std::vector<float> scores(static_cast<size_t>(count));
  const auto score = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece& piece = runs[static_cast<size_t>(i)];
      ops::index_scores(device, query, piece.begin, piece.end,
                        std::span(scores).subspan(static_cast<size_t>(piece.out)));
    }
  };
  const auto num_runs = static_cast<int64_t>(runs.size());
  if (share_keys) {
    device.team().parallel_for(num_runs, 1, score);
  } else {
    score(0, num_runs);
  }
  if (shape_.candidates == Candidates::Publish) shared.candidate_blocks[at] = best_blocks(scores);
  choose(scores, runs, shared.selected.row(row));

  if (!trace.wants("index_scores")) return;
  std::vector<float> all(static_cast<size_t>(visible), -kInfinity);
  for (const Piece& run : runs) {
    std::copy_n(scores.begin() + run.out, run.end - run.begin, all.begin() + run.begin);
  }
  trace.add_row("index_scores", std::span<const float>(all));
}

void LightningIndexer::forward(const ops::Device& device, const ops::Matrix& x,
                               const ops::Matrix& qr, const Batch& batch, SharedStreams& shared,
                               const TraceScope& trace) const {
  const ops::Matrix q = queries(device, qr, batch);
  const ops::Matrix w = ops::index_head_weights(device, x, weights_proj_, dim_);
  shared.selected = ops::IndexMatrix(batch.rows(), topk_);
  if (shape_.candidates == Candidates::Publish) {
    shared.candidate_blocks.assign(static_cast<size_t>(batch.rows()), {});
  }
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& rows = batch.sequences[s];
    const ops::RowStore& keys = rows.state->layer(shared.index_key_source[s]).index_keys;
    const auto select = [&](int64_t i, bool share_keys) {
      const int64_t row = rows.row_begin + i;
      const int64_t visible = (rows.position + i + 1) / shape_.ratio;
      LETHE_DCHECK(visible <= keys.end());
      select_row(device, {q.row(row), w.row(row), &keys, key_codec_}, row, visible, share_keys,
                 shared, trace);
    };
    if (rows.row_count >= device.team().size() && !trace.wants("index_scores")) {
      device.for_rows(rows.row_count, [&](int64_t i) { select(i, false); });
    } else {  // few queries: share out the keys of each
      for (int64_t i = 0; i < rows.row_count; ++i) select(i, true);
    }
  }
  trace.add("index_topk", shared.selected);
  if (shape_.candidates != Candidates::Publish) return;
  for (const std::vector<int32_t>& blocks : shared.candidate_blocks) {
    trace.add_row("candidate_blocks", std::span<const int32_t>(blocks));
  }
}

}  // namespace lethe::model::v41
