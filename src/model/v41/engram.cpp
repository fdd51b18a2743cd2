#include "model/v41/engram.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/memory_advice.h"
#include "ops/norm.h"
#include "ops/profile.h"

namespace lethe::model::v41 {

namespace {

/// Keeps the gate's root away from the square root's infinite slope at 0; a constant of the
/// release, not of the configuration.
constexpr float kMinDot = 1e-6f;

/// Compressed ids of positions [begin, end) of a sequence.
RecycledVector<int32_t> history_ids(const ops::RowStore& history, int64_t begin, int64_t end) {
  RecycledVector<int32_t> ids(static_cast<size_t>(end - begin));
  for (int64_t p = begin; p < end; ++p) {
    std::memcpy(&ids[static_cast<size_t>(p - begin)], history.row(p), sizeof(int32_t));
  }
  return ids;
}

}  // namespace

Engram::Engram(const WeightLoader& loader, const std::string& prefix, size_t engram_layer,
               const EngramHash& hash)
    : streams_(loader.config().hc_mult),
      norm_eps_(loader.config().rms_norm_eps),
      engram_layer_(engram_layer),
      hash_(&hash),
      embed_(loader.matrix(prefix + ".embed.weight")),
      wkv_(loader.linear(prefix + ".wkv", ops::LinearRole::Fp8)),
      qk_weight_(loader.vector(prefix + ".q_weight")) {
  const std::vector<float> k_weight = loader.vector(prefix + ".k_weight");
  for (size_t i = 0; i < qk_weight_.size(); ++i) qk_weight_[i] *= k_weight[i];
  // Rows are a few hundred bytes of a table of up to 100 GB: reading around them would read the
  // disk for nothing.
  advise_random_access({embed_.data, static_cast<size_t>(embed_.rows * embed_.row_bytes)});
  advise_random_access({embed_.scales, static_cast<size_t>(embed_.rows * embed_.scale_row_bytes)});
}

void Engram::prefetch(const ops::Device& device, const Batch& batch) const {
  const RecycledVector<int64_t> ids = row_ids(batch);
  device.for_rows(static_cast<int64_t>(ids.size()), [&](int64_t i) {
    const int64_t row = ids[static_cast<size_t>(i)];
    prefetch_pages({embed_.row(row), static_cast<size_t>(embed_.row_bytes)});
    if (embed_.scales == nullptr) return;
    prefetch_pages({embed_.scale_row(row), static_cast<size_t>(embed_.scale_row_bytes)});
  });
}

RecycledVector<int64_t> Engram::row_ids(const Batch& batch) const {
  const auto columns = static_cast<size_t>(hash_->columns());
  RecycledVector<int64_t> ids(static_cast<size_t>(batch.rows()) * columns);
  for (const SequenceRows& rows : batch.sequences) {
    const int64_t begin = std::max<int64_t>(0, rows.position - hash_->lookback());
    const RecycledVector<int32_t> tokens =
        history_ids(rows.state->history(), begin, rows.position + rows.row_count);
    const auto known = static_cast<size_t>(rows.position - begin);
    hash_->row_ids(engram_layer_, std::span(tokens).first(known), std::span(tokens).subspan(known),
                   std::span(ids).subspan(static_cast<size_t>(rows.row_begin) * columns,
                                          static_cast<size_t>(rows.row_count) * columns));
  }
  return ids;
}

ops::Matrix Engram::lookup(const ops::Device& device, std::span<const int64_t> row_ids) const {
  const int64_t columns = hash_->columns();
  ops::Matrix e(static_cast<int64_t>(row_ids.size()) / columns, columns * embed_.cols);
  device.for_rows(e.rows(), [&](int64_t t) {
    for (int64_t c = 0; c < columns; ++c) {
      quant::decode_row(embed_, row_ids[static_cast<size_t>(t * columns + c)],
                        e.part(t, c, columns).data());
    }
    device.store_bf16(e.row(t));
  });
  return e;
}

float Engram::gate(const ops::Device& device, std::span<const float> stream,
                   std::span<const float> key, int64_t c) const {
  const float* const weight = qk_weight_.data() + c * static_cast<int64_t>(stream.size());
  double sum = 0;
  for (size_t d = 0; d < stream.size(); ++d) {
    sum += static_cast<double>(stream[d] * weight[d]) * static_cast<double>(key[d]);
  }
  const float dot = static_cast<float>(sum) * ops::inverse_rms(device, stream, norm_eps_) *
                    ops::inverse_rms(device, key, norm_eps_) /
                    std::sqrt(static_cast<float>(stream.size()));
  const float root = std::copysign(std::sqrt(std::max(std::abs(dot), kMinDot)), dot);
  return 1.0f / (1.0f + std::exp(-root));
}

void Engram::forward(const ops::Device& device, ops::Matrix& streams, const Batch& batch,
                     const TraceScope& trace) const {
  ops::ProfileScope profile(device, ops::Part::Engram);
  profile.read(wkv_);
  profile.read_bytes(static_cast<double>(batch.rows() * hash_->columns() * embed_.row_bytes));
  const ops::Matrix kv = ops::linear(device, lookup(device, row_ids(batch)), wkv_);
  ops::Matrix gates(streams.rows(), streams_);
  device.for_rows(streams.rows(), [&](int64_t t) {
    const std::span<const float> value = kv.part(t, streams_, streams_ + 1);
    for (int64_t c = 0; c < streams_; ++c) {
      const std::span<float> stream = streams.part(t, c, streams_);
      const float g = gate(device, stream, kv.part(t, c, streams_ + 1), c);
      for (size_t d = 0; d < stream.size(); ++d) stream[d] += g * value[d];
      device.store_bf16(stream);
      gates.row(t)[static_cast<size_t>(c)] = g;
    }
  });
  trace.add("engram_gate", gates);
  trace.add("engram_out", streams, {streams_, streams.cols() / streams_});
}

}  // namespace lethe::model::v41
