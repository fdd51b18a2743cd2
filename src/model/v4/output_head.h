#pragma once

#include <string>
#include <vector>

#include "model/hyper_connection.h"

namespace lethe::model::v4 {

/// From the residual streams to logits: the head's hyper-connection, the final norm, the LM head.
/// The MTP block has its own connection and norm and shares the matrix. Source: spec V4 4.1
/// hc_head.
class OutputHead {
 public:
  /// Reads PREFIXhc_head_*, PREFIXnorm.weight and head.weight; PREFIX is "" or "mtp.0.".
  OutputHead(const WeightLoader& loader, const std::string& prefix);

  /// streams: [tokens, hc_mult * dim] -> f32 logits [tokens, vocab].
  ops::Matrix forward(const ops::Device& device, const ops::Matrix& streams) const;

 private:
  double norm_eps_;
  HyperConnection connection_;
  std::vector<float> norm_;
  ops::Linear head_;
};

}  // namespace lethe::model::v4
