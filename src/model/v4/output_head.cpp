#include "model/v4/output_head.h"

#include "ops/norm.h"
#include "ops/profile.h"

namespace lethe::model::v4 {

OutputHead::OutputHead(const WeightLoader& loader, const std::string& prefix)
    : norm_eps_(loader.config().rms_norm_eps),
      connection_(loader, prefix + "hc_head"),
      norm_(loader.vector(prefix + "norm.weight")),
      head_(loader.linear("head", ops::LinearRole::Head)) {}

ops::Matrix OutputHead::forward(const ops::Device& device, const ops::Matrix& streams) const {
  ops::ProfileScope profile(device, ops::Part::Head);
  profile.read(head_);
  ops::Matrix x = ops::hyper_collapse(device, streams, connection_.head_mix(device, streams));
  ops::rms_norm(device, x, norm_, norm_eps_);
  return ops::linear(device, x, head_);
}

}  // namespace lethe::model::v4
