#include "model/hyper_connection.h"

#include <algorithm>

namespace lethe::model {

HyperConnection::HyperConnection(const WeightLoader& loader, const std::string& name)
    : base_(loader.vector(name + "_base")), scale_(loader.vector(name + "_scale")) {
  const ModelConfig& config = loader.config();
  params_ = {.fn = loader.f32_matrix(name + "_fn"),
             .base = base_,
             .scale = scale_,
             .streams = config.hc_mult,
             .sinkhorn_iterations = config.hc_sinkhorn_iters,
             .norm_eps = config.rms_norm_eps,
             .hc_eps = config.hc_eps};
}

void trace_mix(const TraceScope& trace, const char* prefix, const ops::HyperMix& mix) {
  if (!trace.is_on()) return;
  const std::string name = prefix;
  trace.add(name + "_pre", mix.pre);
  trace.add(name + "_post", mix.post);
  trace.add(name + "_comb", mix.comb, {mix.pre.cols(), mix.pre.cols()});
}

ops::Matrix repeat_streams(const ops::Matrix& embedded, int64_t m) {
  ops::Matrix streams = ops::Matrix::unset(embedded.rows(), embedded.cols() * m);
  for (int64_t t = 0; t < embedded.rows(); ++t) {
    for (int64_t j = 0; j < m; ++j) {
      const auto row = embedded.row(t);
      std::copy(row.begin(), row.end(), streams.part(t, j, m).begin());
    }
  }
  return streams;
}

}  // namespace lethe::model
