#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/checkpoint.h"

namespace lethe::apps {

/// Weights of one part or encoding.
struct WeightSum {
  int64_t tensors = 0;
  int64_t parameters = 0;
  int64_t bytes = 0;  ///< scales included
  std::map<std::string, int64_t> bytes_by_encoding;
};

/// One official tensor as stored.
struct InspectedTensor {
  TensorSpec spec;
  std::string encoding;
  int64_t bytes = 0;
  std::string file;
};

/// What a checkpoint holds, by the configuration's own list of tensors.
struct Inspection {
  std::vector<InspectedTensor> tensors;  ///< those that were found
  std::array<WeightSum, kNumModelParts> by_part;
  std::map<std::string, WeightSum> by_encoding;
  WeightSum all;
  int64_t file_bytes = 0;
  std::string tokenizer;  ///< where it is; "" if there is none
};

Inspection inspect(const Checkpoint& checkpoint);

/// "2 window only, 21 of ratio 4, 20 of ratio 128".
std::string layer_kinds(const ModelConfig& config);

/// Reads every weight and returns a line for each tensor that holds a NaN, or in an encoding with
/// scales an infinity. Shows progress on stderr.
std::vector<std::string> find_nans(const Checkpoint& checkpoint, const Inspection& inspection);

}  // namespace lethe::apps
