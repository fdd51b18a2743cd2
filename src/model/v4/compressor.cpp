#include "model/v4/compressor.h"

#include <algorithm>

#include "ops/norm.h"
#include "ops/pooling.h"
#include "ops/profile.h"

namespace lethe::model::v4 {

Compressor::Compressor(const WeightLoader& loader, const std::string& prefix, const Shape& shape)
    : shape_(shape),
      overlap_(shape.ratio == 4),
      norm_eps_(loader.config().rms_norm_eps),
      wkv_(loader.linear(prefix + ".wkv", ops::LinearRole::Compressor)),
      wgate_(loader.linear(prefix + ".wgate", ops::LinearRole::Compressor)),
      ape_(loader.vector(prefix + ".ape")),
      norm_(loader.vector(prefix + ".norm.weight")) {}

void Compressor::append_tail(const ops::Matrix& values, const ops::Matrix& gates,
                             const SequenceRows& rows, ops::RowStore& tail) const {
  const int64_t first = tail.append(rows.row_count);
  LETHE_CHECK(first == rows.position, "compressor rows and positions went apart");
  const auto width = static_cast<size_t>(channels());
  for (int64_t i = 0; i < rows.row_count; ++i) {
    const int64_t p = rows.position + i;
    auto* const out = reinterpret_cast<float*>(tail.mutable_row(p));
    const auto value = values.row(rows.row_begin + i);
    const auto gate = gates.row(rows.row_begin + i);
    const float* const ape = ape_.data() + (p % shape_.ratio) * channels();
    std::copy(value.begin(), value.end(), out);
    for (size_t c = 0; c < width; ++c) out[width + c] = gate[c] + ape[c];
  }
}

void Compressor::build_entry(const ops::Device& device, const ops::RowStore& tail, int64_t group,
                             std::span<float> entry) const {
  RecycledVector<ops::PoolRow> rows;
  const auto add_group = [&](int64_t g, int64_t channel) {
    for (int64_t p = g * shape_.ratio; p < (g + 1) * shape_.ratio; ++p) {
      const auto* row = reinterpret_cast<const float*>(tail.row(p));
      rows.push_back({row + channel, row + channels() + channel});
    }
  };
  if (overlap_ && group > 0) add_group(group - 1, 0);
  add_group(group, overlap_ ? shape_.dim : 0);
  ops::softmax_pool(rows, entry);
  device.store_bf16(entry);
  ops::rms_norm_row(device, entry, norm_, norm_eps_);
  ops::rope_row(device, entry, *shape_.rope, group * shape_.ratio);
  if (shape_.index_key) ops::hadamard(device, entry);
}

void Compressor::forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                         int64_t layer, ops::RowStore LayerCache::*tail,
                         ops::RowStore LayerCache::*entries) const {
  ops::ProfileScope profile(device, ops::Part::Compressor);
  profile.read(wkv_);
  profile.read(wgate_);
  const ops::Matrix values = ops::linear(device, x, wkv_);
  const ops::Matrix gates = ops::linear(device, x, wgate_);
  for (const SequenceRows& rows : batch.sequences) {
    LayerCache& cache = rows.state->layer(layer);
    ops::RowStore& tail_rows = cache.*tail;
    ops::RowStore& out = cache.*entries;
    append_tail(values, gates, rows, tail_rows);
    const int64_t complete = (rows.position + rows.row_count) / shape_.ratio;
    const int64_t first = out.append(complete - out.end());
    device.for_rows(complete - first, [&](int64_t i) {
      RecycledVector<float> entry(static_cast<size_t>(shape_.dim));
      build_entry(device, tail_rows, first + i, entry);
      shape_.codec.encode(entry.data(), out.mutable_row(first + i));
    });
  }
}

}  // namespace lethe::model::v4
