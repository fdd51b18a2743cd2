#include "model/v41/compressor.h"

#include <algorithm>

#include "ops/norm.h"
#include "ops/pooling.h"
#include "ops/profile.h"

namespace lethe::model::v41 {

Compressor::Compressor(const WeightLoader& loader, const std::string& prefix, int64_t ratio,
                       const ops::RopeTable& rope, ops::Numerics numerics)
    : ratio_(ratio),
      head_dim_(loader.config().head_dim),
      norm_eps_(loader.config().rms_norm_eps),
      rope_(&rope),
      row_codec_(numerics, ops::RowCodec::Kind::Fp4E4m3, head_dim_,
                 loader.config().qk_rope_head_dim),
      key_codec_(numerics, ops::RowCodec::Kind::Fp4, loader.config().index_head_dim,
                 loader.config().qk_rope_head_dim),
      // The reference pools in f32; a group of one token is a plain bf16 projection.
      wkv_(loader.linear(prefix + ".compressor.wkv",
                         ratio > 1 ? ops::LinearRole::Compressor : ops::LinearRole::Bf16)),
      wk_(loader.linear(prefix + ".indexer.wk", ops::LinearRole::Bf16)),
      norm_(loader.vector(prefix + ".compressor.norm.weight")),
      k_norm_(loader.vector(prefix + ".indexer.k_norm.weight")) {
  if (ratio > 1) wgate_ = loader.linear(prefix + ".compressor.wgate", ops::LinearRole::Compressor);
}

int64_t Compressor::tail_row_bytes() const noexcept {
  return ratio_ > 1 ? 2 * head_dim_ * int64_t{sizeof(float)} : 0;
}

void Compressor::append_tail(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                             int64_t layer) const {
  const ops::Matrix values = ops::linear(device, x, wkv_);
  const ops::Matrix gates = ops::linear(device, x, wgate_);
  for (const SequenceRows& rows : batch.sequences) {
    ops::RowStore& tail = rows.state->layer(layer).compressor_tail;
    const int64_t first = tail.append(rows.row_count);
    LETHE_CHECK(first == rows.position, "compressor rows and positions went apart");
    for (int64_t i = 0; i < rows.row_count; ++i) {
      auto* const out = reinterpret_cast<float*>(tail.mutable_row(first + i));
      const auto value = values.row(rows.row_begin + i);
      const auto gate = gates.row(rows.row_begin + i);
      std::copy(value.begin(), value.end(), out);
      std::copy(gate.begin(), gate.end(), out + head_dim_);
    }
  }
}

RecycledVector<Compressor::Group> Compressor::completed_groups(const Batch& batch,
                                                               int64_t layer) const {
  RecycledVector<Group> groups;
  for (const SequenceRows& rows : batch.sequences) {
    LayerCache& cache = rows.state->layer(layer);
    const int64_t end = (rows.position + rows.row_count) / ratio_;
    for (int64_t j = rows.position / ratio_; j < end; ++j) groups.push_back({&cache, j});
  }
  return groups;
}

ops::Matrix Compressor::pool(const ops::Device& device, std::span<const Group> groups) const {
  ops::Matrix latents(static_cast<int64_t>(groups.size()), head_dim_);
  device.for_rows(latents.rows(), [&](int64_t i) {
    const Group& group = groups[static_cast<size_t>(i)];
    RecycledVector<ops::PoolRow> rows;
    for (int64_t p = group.index * ratio_; p < (group.index + 1) * ratio_; ++p) {
      const auto* row = reinterpret_cast<const float*>(group.cache->compressor_tail.row(p));
      rows.push_back({row, row + head_dim_});
    }
    ops::softmax_pool(rows, latents.row(i));
  });
  device.store_bf16(latents);
  return latents;
}

void Compressor::forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                         int64_t layer) const {
  ops::ProfileScope profile(device, ops::Part::Compressor);
  for (const ops::Linear* matrix : {&wkv_, &wgate_, &wk_}) {
    if (matrix->weight.present()) profile.read(*matrix);
  }
  if (ratio_ > 1) append_tail(device, x, batch, layer);
  const RecycledVector<Group> groups = completed_groups(batch, layer);
  if (groups.empty()) return;

  ops::Matrix latents = ratio_ > 1 ? pool(device, groups) : ops::linear(device, x, wkv_);
  ops::rms_norm(device, latents, norm_, norm_eps_);
  ops::Matrix keys = ops::linear(device, latents, wk_);  // from the latent before its rotation
  ops::rms_norm(device, keys, k_norm_, norm_eps_);

  RecycledVector<int64_t> positions;  // a group stands at its first token
  for (const Group& group : groups) positions.push_back(group.index * ratio_);
  ops::rope(device, latents, 1, *rope_, positions);
  ops::rope(device, keys, 1, *rope_, positions);

  for (size_t i = 0; i < groups.size(); ++i) {
    LayerCache& cache = *groups[i].cache;
    const int64_t row = cache.compressed.append(1);
    LETHE_CHECK(row == groups[i].index && cache.index_keys.append(1) == row,
                "compressed rows and positions went apart");
    row_codec_.encode(latents.row(static_cast<int64_t>(i)).data(),
                      cache.compressed.mutable_row(row));
    key_codec_.encode(keys.row(static_cast<int64_t>(i)).data(), cache.index_keys.mutable_row(row));
  }
}

}  // namespace lethe::model::v41
