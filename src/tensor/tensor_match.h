#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/inventory.h"
#include "tensor/model_config.h"
#include "tensor/tensor_faults.h"
#include "tensor/tensor_view.h"

namespace lethe::internal {

/// Where an official tensor is: which raw tensor, and which piece of it.
struct TensorSlot {
  uint32_t tensor = 0;  ///< number in the list of raw tensors
  int64_t scale = -1;   ///< the same of its scales, or -1
  StorageKind kind = StorageKind::F32;
  Shape shape;            ///< logical
  int64_t part = -1;      ///< of a stack of equal parts: which one
  int64_t col_begin = 0;  ///< see StoredWeight
  int64_t cols = -1;
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using SlotMap = std::unordered_map<std::string, TensorSlot, StringHash, std::equal_to<>>;

/// The outcome of comparing the tensors of files with those that a configuration demands.
struct MatchedTensors {
  SlotMap slots;  ///< by official name
  std::vector<TensorFault> faults;
  std::vector<bool> used;  ///< of each raw tensor
  ModelConfig present;     ///< what was compared with: see reconcile()
  bool has_draft = false;
};

/// What the names of the tensors say of the model's size, -1 where they say nothing.
struct Census {
  int64_t layers = -1;
  int64_t experts = -1;
  int64_t draft_experts = -1;
  int64_t expert_matrices = 0;  ///< of all routed experts
};

/// The configuration with which to compare tensor by tensor: `config`, but with the numbers of
/// layers and experts that are really there. A difference is one fault, not one per tensor. Without
/// any layer if there are none, or so few tensors that listing all missing ones would cost more
/// than the files justify.
ModelConfig reconcile(const ModelConfig& config, const Census& census,
                      const std::string& config_path, std::vector<TensorFault>& faults);

/// Compares `raw`, released names. `unsupported` are tensors of a dtype that Lethe cannot hold
/// (name -> dtype); `path` stands for the checkpoint in messages about what is missing.
MatchedTensors match_safetensors(const std::vector<TensorView>& raw,
                                 const std::map<std::string, std::string, std::less<>>& unsupported,
                                 const ModelConfig& config, const std::string& path);

/// The tensors of a GGUF model, and after them, from `draft_begin` on, those of its draft file.
struct GgufTensors {
  const std::vector<TensorView>* raw = nullptr;
  size_t draft_begin = 0;
  std::string path;
  std::string draft_path;       ///< "" if there is none
  std::string engram_encoding;  ///< metadata `engram.encoding`, or ""
};
MatchedTensors match_gguf(const GgufTensors& tensors, const ModelConfig& config);

/// True for dtypes that decode to numbers by themselves: F32, F16, BF16 and the ggml blocks.
bool is_self_contained(DType dtype);
/// "Q8_0 [128, 256]".
std::string describe(DType dtype, const Shape& shape);

/// Adds a fault unless every row of a token-id routing table holds different experts of the model
/// (spec/formats.md 2.2 rule 8). I64 or I32 [vocab_size, num_experts_per_tok].
void check_routing_table(const TensorView& table, int64_t experts,
                         std::vector<TensorFault>& faults);

}  // namespace lethe::internal
