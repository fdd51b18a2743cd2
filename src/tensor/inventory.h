#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/model_config.h"
#include "tensor/tensor_view.h"

namespace lethe {

/// The part of the model a tensor belongs to, for `plan`, `inspect` and `bench --profile`.
enum class ModelPart {
  Embedding,
  Attention,
  Compressor,
  Indexer,
  Router,
  RoutedExperts,
  SharedExpert,
  HyperConnection,
  Norm,
  Engram,
  Head,
  Draft,  ///< everything under `mtp.`
  Vision,
};
inline constexpr int kNumModelParts = static_cast<int>(ModelPart::Vision) + 1;
std::string_view model_part_name(ModelPart part);

/// How the release stores a tensor.
enum class StorageKind {
  Fp8Block,  ///< F8_E4M3 + .scale per fp8_block x fp8_block tile
  Fp4Row,    ///< I8 packed e2m1 (low nibble first) + .scale per row per 32
  Fp8Row,    ///< F8_E4M3 + .scale per row per 32 columns (Engram table)
  Bf16,
  F32,
  I64,
};

/// One tensor that a configuration demands, under its official name ("layers.3.attn.wq_a.weight").
/// Its scale tensor, if the kind has one, is not listed apart: see `scale_name`.
struct TensorSpec {
  std::string name;
  Shape shape;  ///< logical: [out, in] even where storage is packed
  StorageKind kind = StorageKind::F32;
  ModelPart part = ModelPart::Norm;
  int64_t layer = -1;     ///< layer, or draft block counted from 0 if `draft`, or -1
  int64_t expert = -1;    ///< routed expert, or -1
  bool draft = false;     ///< under `mtp.`
  bool optional = false;  ///< absent in some published files: the draft blocks
};

/// All tensors of a model, in a stable order: root, layers, drafts. Without vision towers and
/// `gate.bias_vl` (their presence is allowed, see `is_ignorable_tensor`). `config` must be free of
/// `config_faults`. Source: spec/deepseek-v4.md section 2, spec/deepseek-v4.1.md section 2.
std::vector<TensorSpec> expected_tensors(const ModelConfig& config);

/// Names that may be present without being used: vision, aligner, image_*, gate.bias_vl.
bool is_ignorable_tensor(std::string_view official_name);

/// True for the kinds that are stored as a pair `X.weight` + `X.scale`.
bool has_scale(StorageKind kind);
/// "layers.3.attn.wq_a.weight" -> "layers.3.attn.wq_a.scale".
std::string scale_name(std::string_view weight_name);

/// A spec as the released files hold it: the tensor, then its scales if the kind has them.
std::vector<TensorPlan> released_tensors(const TensorSpec& spec, int64_t fp8_block);

}  // namespace lethe
