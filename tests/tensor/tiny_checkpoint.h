#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file_writer.h"
#include "tensor/inventory.h"
#include "tensor/safetensors.h"

namespace lethe::testing {

/// A V4 of some kB in released safetensors, for tests to damage before it is written.
struct TinyCheckpoint {
  struct Tensor {
    TensorPlan plan;
    std::vector<std::byte> bytes;
  };
  ModelConfig config;
  std::map<std::string, Tensor> tensors;

  TinyCheckpoint() : config(preset_config("tiny")) {
    config.vocab_size = 32;
    config.hidden_size = 64;
    config.num_hidden_layers = 3;
    config.num_hash_layers = 1;
    config.compress_ratios = {0, 4, 128, 0};
    config.num_attention_heads = 2;
    config.head_dim = 64;
    config.qk_rope_head_dim = 32;
    config.index_n_heads = 2;
    config.index_head_dim = 32;
    config.q_lora_rank = 32;
    config.o_groups = 2;
    config.o_lora_rank = 16;
    config.n_routed_experts = 6;
    config.num_experts_per_tok = 2;
    config.moe_intermediate_size = 32;
    config.swiglu_limit.assign(3, 10.0);
    config.swiglu_limit_shared = config.swiglu_limit;
    for (const TensorSpec& spec : expected_tensors(config)) {
      for (const TensorPlan& plan : released_tensors(spec, config.fp8_block)) add(plan);
    }
  }

  /// A tensor of zeros; a routing table with different experts in each row.
  void add(const TensorPlan& plan) {
    Tensor tensor{plan, {}};
    const auto elements = static_cast<size_t>(num_elements(plan.shape));
    tensor.bytes.resize(elements * dtype_info(plan.dtype).block_bytes);
    if (plan.dtype == DType::I64) {
      for (size_t i = 0; i < elements; ++i) set_int64(tensor, i, static_cast<int64_t>(i % 6));
    }
    tensors[plan.name] = std::move(tensor);
  }
  static void set_int64(Tensor& tensor, size_t index, int64_t value) {
    std::memcpy(tensor.bytes.data() + 8 * index, &value, sizeof value);
  }

  /// A tensor in another dtype or shape, of zeros.
  void replace(const std::string& name, DType dtype, const Shape& shape) {
    ASSERT_EQ(tensors.count(name), 1U) << name;
    add({name, dtype, shape});
  }
  void erase(const std::string& name) { ASSERT_EQ(tensors.erase(name), 1U) << name; }
  void rename(const std::string& from, const std::string& to) {
    ASSERT_EQ(tensors.count(from), 1U) << from;
    Tensor tensor = std::move(tensors[from]);
    tensor.plan.name = to;
    tensors.erase(from);
    tensors[to] = std::move(tensor);
  }

  void write_config(const std::filesystem::path& directory) const {
    FileWriter writer((directory / "config.json").string());
    writer.write(to_hf_config_json(config));
    writer.commit();
  }
  /// The tensors number `begin`, `begin + step`, ... into one file.
  void write_tensors(const std::filesystem::path& file, size_t begin = 0, size_t step = 1) const {
    std::vector<TensorPlan> plans;
    std::vector<const Tensor*> written;
    size_t i = 0;
    for (const auto& [name, tensor] : tensors) {
      if (i++ % step != begin) continue;
      plans.push_back(tensor.plan);
      written.push_back(&tensor);
    }
    SafetensorsWriter writer(file.string(), plans);
    for (const Tensor* tensor : written) writer.append(tensor->bytes);
    writer.finish();
  }
  void write(const std::filesystem::path& directory) const {
    write_config(directory);
    write_tensors(directory / "model.safetensors");
  }
};

}  // namespace lethe::testing
