#include "model/v4/mtp.h"

#include <fmt/core.h>

#include "ops/embedding.h"
#include "ops/norm.h"

namespace lethe::model::v4 {

Mtp::Mtp(const WeightLoader& loader, int64_t index, const RopeTables& rope, ops::Numerics numerics)
    : norm_eps_(loader.config().rms_norm_eps),
      streams_(loader.config().hc_mult),
      embed_(loader.matrix("embed.weight")),
      e_proj_(loader.linear(fmt::format("mtp.{}.e_proj", index), ops::LinearRole::Fp8)),
      h_proj_(loader.linear(fmt::format("mtp.{}.h_proj", index), ops::LinearRole::Fp8)),
      enorm_(loader.vector(fmt::format("mtp.{}.enorm.weight", index))),
      hnorm_(loader.vector(fmt::format("mtp.{}.hnorm.weight", index))),
      block_(loader, index, /*draft=*/true, rope, numerics),
      head_(loader, fmt::format("mtp.{}.", index)) {}

ops::Matrix Mtp::forward(const ops::Device& device, const ops::Matrix& streams, const Batch& batch,
                         const TraceScope& trace) const {
  ops::Matrix embedded = ops::embed(device, embed_, batch.tokens);
  ops::rms_norm(device, embedded, enorm_, norm_eps_);
  const ops::Matrix e = ops::linear(device, embedded, e_proj_);

  // The streams of a token as rows of their own: each is normed and projected by itself.
  const int64_t dim = streams.cols() / streams_;
  ops::Matrix rows(streams.rows() * streams_, dim);
  std::copy(streams.values().begin(), streams.values().end(), rows.values().begin());
  ops::rms_norm(device, rows, hnorm_, norm_eps_);
  const ops::Matrix h = ops::linear(device, rows, h_proj_);

  ops::Matrix x(streams.rows(), streams.cols());
  device.for_rows(x.rows(), [&](int64_t t) {
    for (int64_t j = 0; j < streams_; ++j) {
      const auto out = x.part(t, j, streams_);
      const auto from_token = e.row(t);
      const auto from_stream = h.row(t * streams_ + j);
      for (size_t d = 0; d < out.size(); ++d) out[d] = from_token[d] + from_stream[d];
      device.store_bf16(out);
    }
  });
  block_.forward(device, x, batch, trace);
  return head_.forward(device, x);
}

}  // namespace lethe::model::v4
