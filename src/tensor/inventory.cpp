#include "tensor/inventory.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tensor/integers.h"

namespace lethe {

namespace {

/// Collects the tensors of one module after another; names in the order of the spec's tables.
class Inventory {
 public:
  explicit Inventory(const ModelConfig& config) : c_(config), D_(config.hidden_size) {}

  std::vector<TensorSpec> build() {
    add_root();
    for (int64_t layer = 0; layer < c_.num_hidden_layers; ++layer) {
      begin_block(fmt::format("layers.{}.", layer), layer, false);
      add_block(c_.n_routed_experts);
      if (v41() && contains(c_.engram.layer_ids, layer)) add_engram();
    }
    for (int64_t stage = 0; stage < c_.num_nextn_predict_layers; ++stage) {
      begin_block(fmt::format("mtp.{}.", stage), stage, true);
      add_block(v41() ? c_.dspark.n_routed_experts : c_.n_routed_experts);
      if (v41()) {
        add_dspark();
      } else {
        add_mtp();
      }
    }
    return std::move(specs_);
  }

 private:
  bool v41() const { return c_.family == ModelFamily::V41; }

  void begin_block(std::string prefix, int64_t layer, bool draft) {
    prefix_ = std::move(prefix);
    layer_ = layer;
    draft_ = draft;
  }

  void add(std::string_view name, Shape shape, StorageKind kind, ModelPart part,
           int64_t expert = -1) {
    TensorSpec spec;
    spec.name.reserve(prefix_.size() + name.size());
    spec.name.append(prefix_).append(name);
    spec.shape = std::move(shape);
    spec.kind = kind;
    spec.part = draft_ ? ModelPart::Draft : part;
    spec.layer = layer_;
    spec.expert = expert;
    spec.draft = draft_;
    spec.optional = draft_;
    specs_.push_back(std::move(spec));
  }

  void add_root() {
    add("embed.weight", {c_.vocab_size, D_}, StorageKind::Bf16, ModelPart::Embedding);
    add("norm.weight", {D_}, StorageKind::Bf16, ModelPart::Norm);
    add("head.weight", {c_.vocab_size, D_}, StorageKind::Bf16, ModelPart::Head);
    if (!v41()) add_hyper_connection_head();
  }

  void add_hyper_connection_head() {
    constexpr ModelPart part = ModelPart::HyperConnection;
    add("hc_head_fn", {c_.hc_mult, c_.hc_mult * D_}, StorageKind::F32, part);
    add("hc_head_base", {c_.hc_mult}, StorageKind::F32, part);
    add("hc_head_scale", {1}, StorageKind::F32, part);
  }

  void add_block(int64_t num_experts) {
    add_hyper_connection();
    add("attn_norm.weight", {D_}, StorageKind::Bf16, ModelPart::Norm);
    add("ffn_norm.weight", {D_}, StorageKind::Bf16, ModelPart::Norm);
    add_attention();
    if (v41()) {
      if (!draft_) add_v41_sources();
    } else {
      add_v4_compression();
    }
    add_router(num_experts);
    for (int64_t expert = 0; expert < num_experts; ++expert) add_routed_expert(expert);
    add_shared_expert();
  }

  void add_hyper_connection() {
    constexpr ModelPart part = ModelPart::HyperConnection;
    const int64_t mix = (2 + c_.hc_mult) * c_.hc_mult;
    for (const char* sublayer : {"attn", "ffn"}) {
      add(fmt::format("hc_{}_fn", sublayer), {mix, c_.hc_mult * D_}, StorageKind::F32, part);
      add(fmt::format("hc_{}_base", sublayer), {mix}, StorageKind::F32, part);
      add(fmt::format("hc_{}_scale", sublayer), {3}, StorageKind::F32, part);
    }
  }

  void add_attention() {
    constexpr ModelPart part = ModelPart::Attention;
    const int64_t Q = c_.q_lora_rank;
    const int64_t d = c_.head_dim;
    const int64_t heads_width = c_.num_attention_heads * d;
    const int64_t output_rank = c_.o_groups * c_.o_lora_rank;
    add("attn.attn_sink", {c_.num_attention_heads}, StorageKind::F32, part);
    add("attn.wq_a.weight", {Q, D_}, StorageKind::Fp8Block, part);
    add("attn.q_norm.weight", {Q}, StorageKind::Bf16, part);
    add("attn.wq_b.weight", {heads_width, Q}, StorageKind::Fp8Block, part);
    add("attn.wkv.weight", {d, D_}, StorageKind::Fp8Block, part);
    add("attn.kv_norm.weight", {d}, StorageKind::Bf16, part);
    add("attn.wo_a.weight", {output_rank, heads_width / c_.o_groups}, StorageKind::Fp8Block, part);
    add("attn.wo_b.weight", {D_, output_rank}, StorageKind::Fp8Block, part);
  }

  void add_v4_compression() {
    const int64_t ratio = c_.compress_ratio(draft_ ? c_.num_hidden_layers + layer_ : layer_);
    if (ratio == 0) return;
    const bool overlap = ratio == 4;
    add_v4_compressor("attn.compressor", ratio, (overlap ? 2 : 1) * c_.head_dim, c_.head_dim,
                      ModelPart::Compressor);
    if (!overlap) return;
    constexpr ModelPart part = ModelPart::Indexer;
    add("attn.indexer.wq_b.weight", {c_.index_n_heads * c_.index_head_dim, c_.q_lora_rank},
        StorageKind::Fp8Block, part);
    add("attn.indexer.weights_proj.weight", {c_.index_n_heads, D_}, StorageKind::Bf16, part);
    add_v4_compressor("attn.indexer.compressor", ratio, 2 * c_.index_head_dim, c_.index_head_dim,
                      part);
  }

  void add_v4_compressor(std::string_view stem, int64_t ratio, int64_t channels, int64_t width,
                         ModelPart part) {
    add(fmt::format("{}.ape", stem), {ratio, channels}, StorageKind::F32, part);
    add(fmt::format("{}.wkv.weight", stem), {channels, D_}, StorageKind::Bf16, part);
    add(fmt::format("{}.wgate.weight", stem), {channels, D_}, StorageKind::Bf16, part);
    add(fmt::format("{}.norm.weight", stem), {width}, StorageKind::Bf16, part);
  }

  void add_v41_sources() {
    const int64_t d = c_.head_dim;
    if (contains(c_.kv_source_layer_ids, layer_)) {
      constexpr ModelPart part = ModelPart::Compressor;
      add("attn.compressor.wkv.weight", {d, D_}, StorageKind::Bf16, part);
      if (c_.compress_ratio(layer_) > 1) {
        add("attn.compressor.wgate.weight", {d, D_}, StorageKind::Bf16, part);
      }
      add("attn.compressor.norm.weight", {d}, StorageKind::Bf16, part);
      add("attn.indexer.wk.weight", {c_.index_head_dim, d}, StorageKind::Bf16, ModelPart::Indexer);
      add("attn.indexer.k_norm.weight", {c_.index_head_dim}, StorageKind::Bf16, ModelPart::Indexer);
    }
    if (contains(c_.index_source_layer_ids, layer_)) {
      constexpr ModelPart part = ModelPart::Indexer;
      add("attn.indexer.wq_b.weight", {c_.index_n_heads * c_.index_head_dim, c_.q_lora_rank},
          StorageKind::Fp8Block, part);
      add("attn.indexer.weights_proj.weight", {c_.index_n_heads, D_}, StorageKind::Bf16, part);
    }
  }

  void add_router(int64_t num_experts) {
    constexpr ModelPart part = ModelPart::Router;
    add("ffn.gate.weight", {num_experts, D_}, StorageKind::Bf16, part);
    if (!draft_ && layer_ < c_.num_hash_layers) {
      add("ffn.gate.tid2eid", {c_.vocab_size, c_.num_experts_per_tok}, StorageKind::I64, part);
    } else {
      add("ffn.gate.bias", {num_experts}, StorageKind::F32, part);
    }
  }

  void add_routed_expert(int64_t expert) {
    constexpr ModelPart part = ModelPart::RoutedExperts;
    const StorageKind kind = c_.expert_dtype == "fp8" ? StorageKind::Fp8Block : StorageKind::Fp4Row;
    const int64_t I = c_.moe_intermediate_size;
    const std::string stem = fmt::format("ffn.experts.{}.", expert);
    add(stem + "w1.weight", {I, D_}, kind, part, expert);
    add(stem + "w2.weight", {D_, I}, kind, part, expert);
    add(stem + "w3.weight", {I, D_}, kind, part, expert);
  }

  void add_shared_expert() {
    constexpr ModelPart part = ModelPart::SharedExpert;
    const int64_t I = c_.moe_intermediate_size;
    add("ffn.shared_experts.w1.weight", {I, D_}, StorageKind::Fp8Block, part);
    add("ffn.shared_experts.w2.weight", {D_, I}, StorageKind::Fp8Block, part);
    add("ffn.shared_experts.w3.weight", {I, D_}, StorageKind::Fp8Block, part);
  }

  void add_engram() {
    constexpr ModelPart part = ModelPart::Engram;
    const EngramConfig& engram = c_.engram;
    const auto ordinal =
        static_cast<size_t>(std::find(engram.layer_ids.begin(), engram.layer_ids.end(), layer_) -
                            engram.layer_ids.begin());
    const int64_t gathered = engram.columns() * engram.head_dim;
    add("engram.embed.weight", {engram.num_embeddings.at(ordinal), engram.head_dim},
        StorageKind::Fp8Row, part);
    add("engram.wkv.weight", {D_ * (c_.hc_mult + 1), gathered}, StorageKind::Fp8Block, part);
    add("engram.q_weight", {c_.hc_mult, D_}, StorageKind::Bf16, part);
    add("engram.k_weight", {c_.hc_mult, D_}, StorageKind::Bf16, part);
  }

  void add_mtp() {
    constexpr ModelPart part = ModelPart::Draft;
    add("e_proj.weight", {D_, D_}, StorageKind::Fp8Block, part);
    add("h_proj.weight", {D_, D_}, StorageKind::Fp8Block, part);
    add("enorm.weight", {D_}, StorageKind::Bf16, part);
    add("hnorm.weight", {D_}, StorageKind::Bf16, part);
    add("norm.weight", {D_}, StorageKind::Bf16, part);
    add_hyper_connection_head();
  }

  void add_dspark() {
    constexpr ModelPart part = ModelPart::Draft;
    const DSparkConfig& dspark = c_.dspark;
    if (layer_ == 0) {
      const auto targets = static_cast<int64_t>(dspark.target_layer_ids.size());
      add("main_proj.weight", {D_, targets * D_}, StorageKind::Fp8Block, part);
      add("main_norm.weight", {D_}, StorageKind::Bf16, part);
    }
    if (layer_ + 1 != c_.num_nextn_predict_layers) return;
    const int64_t rank = dspark.markov_rank;
    add("norm.weight", {D_}, StorageKind::Bf16, part);
    add("markov_head.embed.weight", {c_.vocab_size, rank}, StorageKind::Bf16, part);
    add("markov_head.head.weight", {c_.vocab_size, rank}, StorageKind::Bf16, part);
    add("confidence_head.proj.weight", {1, D_ + rank}, StorageKind::Bf16, part);
  }

  const ModelConfig& c_;
  const int64_t D_;
  std::string prefix_;
  int64_t layer_ = -1;
  bool draft_ = false;
  std::vector<TensorSpec> specs_;
};

}  // namespace

std::string_view model_part_name(ModelPart part) {
  switch (part) {
    case ModelPart::Embedding:
      return "embedding";
    case ModelPart::Attention:
      return "attention";
    case ModelPart::Compressor:
      return "compressors";
    case ModelPart::Indexer:
      return "indexer";
    case ModelPart::Router:
      return "router";
    case ModelPart::RoutedExperts:
      return "routed experts";
    case ModelPart::SharedExpert:
      return "shared expert";
    case ModelPart::HyperConnection:
      return "hyper-connections";
    case ModelPart::Norm:
      return "norms";
    case ModelPart::Engram:
      return "engram";
    case ModelPart::Head:
      return "head";
    case ModelPart::Draft:
      return "draft blocks";
    case ModelPart::Vision:
      return "vision";
  }
  LETHE_CHECK(false, "model part {}", static_cast<int>(part));
  return {};
}

std::vector<TensorSpec> expected_tensors(const ModelConfig& config) {
  return Inventory(config).build();
}

bool is_ignorable_tensor(std::string_view official_name) {
  return official_name.starts_with("vision.") || official_name.starts_with("aligner.") ||
         official_name.starts_with("image_") || official_name.ends_with(".gate.bias_vl");
}

bool has_scale(StorageKind kind) {
  return kind == StorageKind::Fp8Block || kind == StorageKind::Fp4Row ||
         kind == StorageKind::Fp8Row;
}

std::string scale_name(std::string_view weight_name) {
  constexpr std::string_view suffix = "weight";
  LETHE_CHECK(weight_name.ends_with(".weight"), "{} has no scale", weight_name);
  return std::string(weight_name.substr(0, weight_name.size() - suffix.size())) + "scale";
}

std::vector<TensorPlan> released_tensors(const TensorSpec& spec, int64_t fp8_block) {
  switch (spec.kind) {
    case StorageKind::Bf16:
      return {{spec.name, DType::BF16, spec.shape}};
    case StorageKind::F32:
      return {{spec.name, DType::F32, spec.shape}};
    case StorageKind::I64:
      return {{spec.name, DType::I64, spec.shape}};
    default:
      break;
  }
  LETHE_CHECK(spec.shape.size() == 2, "{} is scaled but no matrix", spec.name);
  const int64_t rows = spec.shape[0];
  const int64_t cols = spec.shape[1];
  const std::string scale = scale_name(spec.name);
  constexpr int64_t kRowGroup = 32;
  switch (spec.kind) {
    case StorageKind::Fp8Block:
      return {{spec.name, DType::F8_E4M3, spec.shape},
              {scale, DType::F8_E8M0, {ceil_div(rows, fp8_block), ceil_div(cols, fp8_block)}}};
    case StorageKind::Fp4Row:
      return {{spec.name, DType::I8, {rows, ceil_div(cols, 2)}},
              {scale, DType::F8_E8M0, {rows, ceil_div(cols, kRowGroup)}}};
    default:
      return {{spec.name, DType::F8_E4M3, spec.shape},
              {scale, DType::F8_E8M0, {rows, ceil_div(cols, kRowGroup)}}};
  }
}

}  // namespace lethe
