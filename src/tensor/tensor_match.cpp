#include "tensor/tensor_match.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/rounding.h"

namespace lethe::internal {

namespace {

constexpr int64_t kAlwaysListed = 100'000;  // missing tensors that may be listed one by one

ModelConfig without_blocks(ModelConfig config) {
  config.num_hidden_layers = 0;
  config.num_nextn_predict_layers = 0;
  config.compress_ratios.clear();
  return config;
}

int64_t entry(const TensorView& table, size_t index) {
  if (table.dtype == DType::I32) {
    return load_unaligned<int32_t>(table.data.data() + 4 * index);
  }
  return load_unaligned<int64_t>(table.data.data() + 8 * index);
}

}  // namespace

bool is_self_contained(DType dtype) {
  switch (dtype) {
    case DType::F32:
    case DType::F16:
    case DType::BF16:
      return true;
    default:
      return dtype >= DType::Q8_0;
  }
}

std::string describe(DType dtype, const Shape& shape) {
  return fmt::format("{} {}", dtype_name(dtype), shape_string(shape));
}

ModelConfig reconcile(const ModelConfig& config, const Census& census, const std::string& path,
                      std::vector<TensorFault>& faults) {
  if (census.layers < 1) {
    faults.push_back(
        {path, "layer 0", "the tensors of a model, under names that Lethe knows", "none"});
    return without_blocks(config);
  }
  ModelConfig present = config;
  const auto settle = [&](const char* field, int64_t& stated, int64_t found, int64_t use) {
    if (found < 0 || found == stated) return;
    faults.push_back(
        {path, field, fmt::format("{} as the tensors say", found), fmt::format("{}", stated)});
    stated = use;
  };
  const int64_t layers = config.num_hidden_layers;
  settle("num_hidden_layers", present.num_hidden_layers, census.layers,
         std::min(census.layers, layers));
  const auto begin = present.compress_ratios.begin();
  present.compress_ratios.erase(begin + present.num_hidden_layers, begin + layers);
  settle("n_routed_experts", present.n_routed_experts, census.experts, census.experts);
  if (config.family == ModelFamily::V41) {
    settle("dspark_n_routed_experts", present.dspark.n_routed_experts, census.draft_experts,
           census.draft_experts);
  }
  const int64_t needed = 3 * present.num_hidden_layers * present.n_routed_experts;
  if (needed <= 2 * census.expert_matrices + kAlwaysListed) return present;
  faults.push_back({path, "routed experts", fmt::format("{} matrices", needed),
                    fmt::format("{}", census.expert_matrices)});
  return without_blocks(config);
}

void check_routing_table(const TensorView& table, int64_t experts,
                         std::vector<TensorFault>& faults) {
  const auto rows = static_cast<size_t>(table.shape.at(0));
  const auto width = static_cast<size_t>(table.shape.at(1));
  std::vector<int64_t> seen(static_cast<size_t>(experts), -1);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < width; ++i) {
      const int64_t id = entry(table, row * width + i);
      const bool inside = id >= 0 && id < experts;
      if (inside && seen[static_cast<size_t>(id)] != static_cast<int64_t>(row)) {
        seen[static_cast<size_t>(id)] = static_cast<int64_t>(row);
        continue;
      }
      faults.push_back({table.file, table.name,
                        fmt::format("different experts from 0 to {} in each row", experts - 1),
                        fmt::format("{} in row {}{}", id, row, inside ? " twice" : "")});
      return;
    }
  }
}

}  // namespace lethe::internal
