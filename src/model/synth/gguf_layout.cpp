#include "model/synth/gguf_layout.h"

#include <utility>

#include "base/check.h"
#include "model/synth/gguf_metadata.h"
#include "tensor/gguf_names.h"

namespace lethe::synth {

namespace {

/// Where the stock converter puts a tensor: the usual place of a trunk tensor; of a draft file's,
/// the merged eh_proj and the root's output_hc_*, which are the draft's own there.
internal::GgufPlace stock_place(const ModelConfig& config, const TensorSpec& spec) {
  const std::vector<internal::GgufPlace> places =
      internal::gguf_places(spec, config, /*draft_file=*/spec.draft);
  for (const internal::GgufPlace& place : places) {
    if (place.half >= 0 || (spec.draft && place.name.starts_with("output_hc_"))) return place;
  }
  return places.front();
}

void append_tensor(const ModelConfig& config, const TensorSpec& spec, const SynthOptions& options,
                   std::vector<OutputTensor>& tensors) {
  if (spec.expert > 0) return;  // in the stack of expert 0
  const internal::GgufPlace place = stock_place(config, spec);
  if (place.half > 0) return;  // in the tensor of the first half
  Shape shape = spec.shape;
  if (place.half == 0) shape.back() *= 2;
  if (spec.expert >= 0) shape.insert(shape.begin(), config.n_routed_experts);
  const DType dtype = gguf_dtype(spec, options.expert_encoding.value_or(DType::MXFP4),
                                 options.dense_encoding.value_or(DType::Q8_0));
  tensors.push_back(gguf_output(config, spec, place.name, std::move(shape), dtype, options.seed));
}

}  // namespace

GgufLayout gguf_model(const ModelConfig& config, const Vocabulary& vocabulary,
                      const SynthOptions& options) {
  GgufLayout layout{gguf_metadata(config, vocabulary, options, false), {}};
  for (const TensorSpec& spec : expected_tensors(config)) {
    if (!spec.draft) append_tensor(config, spec, options, layout.tensors);
  }
  return layout;
}

GgufLayout gguf_draft(const ModelConfig& config, const Vocabulary& vocabulary,
                      const SynthOptions& options) {
  LETHE_CHECK(config.family == ModelFamily::V4 && config.num_nextn_predict_layers == 1);
  GgufLayout layout{gguf_metadata(config, vocabulary, options, true), {}};
  for (const TensorSpec& spec : expected_tensors(config)) {
    const bool root = spec.layer < 0 && !spec.name.starts_with("hc_head_");
    if (spec.draft || root) append_tensor(config, spec, options, layout.tensors);
  }
  return layout;
}

}  // namespace lethe::synth
