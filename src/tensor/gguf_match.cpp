#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/printable.h"
#include "tensor/gguf_names.h"
#include "tensor/tensor_match.h"

namespace lethe::internal {

namespace {

constexpr int64_t kRowGroup = 32;  // columns per scale of the Engram table
constexpr std::string_view kRow264 = "e4m3_e8m0_32_row264";

/// Writers may drop trailing ones of GGUF's reversed dims.
Shape without_leading_ones(const Shape& shape) {
  auto first = shape.begin();
  while (shape.end() - first > 1 && *first == 1) ++first;
  return {first, shape.end()};
}

bool same_shape(const Shape& a, const Shape& b) {
  return a == b || without_leading_ones(a) == without_leading_ones(b);
}

class GgufMatcher {
 public:
  GgufMatcher(const GgufTensors& tensors, const ModelConfig& config)
      : tensors_(tensors), raw_(*tensors.raw), config_(config) {}

  MatchedTensors match() {
    out_.used.assign(raw_.size(), false);
    for (size_t i = 0; i < raw_.size(); ++i) {
      names(i >= tensors_.draft_begin).emplace(raw_[i].name, static_cast<uint32_t>(i));
    }
    out_.present = reconcile(config_, take_census(), tensors_.path, out_.faults);
    const ModelConfig& present = out_.present;
    std::vector<TensorSpec> specs = expected_tensors(present);
    out_.has_draft = finds_draft(specs, present);
    const bool draft = out_.has_draft;
    out_.slots.reserve(specs.size());
    for (TensorSpec& spec : specs) {
      if (!spec.draft || draft) match_spec(spec, present);
    }
    mark_ignorable();
    return std::move(out_);
  }

 private:
  using Names = std::unordered_map<std::string_view, uint32_t>;
  Names& names(bool draft_file) { return draft_file ? draft_names_ : model_names_; }
  bool has_draft_file() const { return !tensors_.draft_path.empty(); }

  Census take_census() const {
    Census census;
    for (size_t i = 0; i < tensors_.draft_begin; ++i) {
      std::string_view name = raw_[i].name;
      constexpr std::string_view stem = "blk.";
      if (!name.starts_with(stem)) continue;
      name.remove_prefix(stem.size());
      int64_t layer = -1;
      std::from_chars(name.data(), name.data() + name.size(), layer);
      const int64_t beyond = layer - config_.num_hidden_layers;
      if (beyond >= 0 && beyond < config_.num_nextn_predict_layers) continue;  // a draft block
      census.layers = std::max(census.layers, std::min(layer, int64_t{1} << 32) + 1);
      if (!name.ends_with("_exps.weight") || raw_[i].shape.size() != 3) continue;
      census.expert_matrices += raw_[i].shape[0];
      if (census.experts < 0) census.experts = raw_[i].shape[0];
    }
    return census;
  }

  /// The place where a spec's tensor really is: its number in raw_, or -1.
  int64_t find(const std::vector<GgufPlace>& places, bool draft_file, int& half) {
    for (const GgufPlace& place : places) {
      const Names& known = names(draft_file);
      const auto it = known.find(place.name);
      if (it == known.end()) continue;
      half = place.half;
      return static_cast<int64_t>(it->second);
    }
    return -1;
  }

  bool finds_draft(const std::vector<TensorSpec>& specs, const ModelConfig& present) {
    const auto marks_draft = [](const TensorSpec& spec) {
      return spec.name == "mtp.0.e_proj.weight" || spec.name == "mtp.0.main_proj.weight";
    };
    const auto marker = std::find_if(specs.begin(), specs.end(), marks_draft);
    if (marker == specs.end()) return false;
    int half = -1;
    return find(gguf_places(*marker, present, has_draft_file()), has_draft_file(), half) >= 0;
  }

  void fault(const TensorSpec& spec, std::string expected, const TensorView* found,
             std::string_view name) {
    if (spec.draft) out_.has_draft = false;
    if (found != nullptr) {
      out_.faults.push_back({found->file, printable(found->name), std::move(expected),
                             describe(found->dtype, found->shape)});
    } else {
      const bool in_draft_file = spec.draft && has_draft_file();
      out_.faults.push_back({in_draft_file ? tensors_.draft_path : tensors_.path, std::string(name),
                             std::move(expected), "nothing"});
    }
  }

  void match_spec(TensorSpec& spec, const ModelConfig& present) {
    if (spec.expert >= 0) return match_expert(spec, present);
    const bool draft_file = spec.draft && has_draft_file();
    const std::vector<GgufPlace> places = gguf_places(spec, present, draft_file);
    int half = -1;
    const int64_t at = find(places, draft_file, half);
    if (at < 0) {
      return fault(spec, shape_string(spec.shape), nullptr, places.front().name);
    }
    const TensorView& view = raw_[static_cast<size_t>(at)];
    out_.used[static_cast<size_t>(at)] = true;
    TensorSlot slot;
    slot.tensor = static_cast<uint32_t>(at);
    const bool good = half >= 0 ? fill_half(slot, spec, view, half) : fill_slot(slot, spec, view);
    if (!good) return;
    slot.shape = std::move(spec.shape);
    out_.slots.emplace(std::move(spec.name), std::move(slot));
  }

  /// All experts' matrices of one kind are a stack [experts, out, in]; it is checked once.
  void match_expert(TensorSpec& spec, const ModelConfig& present) {
    const size_t which = spec.name.ends_with(".w1.weight")   ? 0
                         : spec.name.ends_with(".w2.weight") ? 1
                                                             : 2;
    int64_t& stack = stacks_[which];
    if (spec.expert == 0) stack = find_stack(spec, present);
    if (stack < 0) return;
    TensorSlot slot;
    slot.tensor = static_cast<uint32_t>(stack);
    slot.part = spec.expert;
    slot.shape = std::move(spec.shape);
    out_.slots.emplace(std::move(spec.name), std::move(slot));
  }

  int64_t find_stack(const TensorSpec& spec, const ModelConfig& present) {
    const bool draft_file = spec.draft && has_draft_file();
    const std::vector<GgufPlace> places = gguf_places(spec, present, draft_file);
    const bool dspark = spec.draft && present.family == ModelFamily::V41;
    Shape stacked = {dspark ? present.dspark.n_routed_experts : present.n_routed_experts};
    stacked.insert(stacked.end(), spec.shape.begin(), spec.shape.end());
    int half = -1;
    const int64_t at = find(places, draft_file, half);
    if (at < 0) {
      fault(spec, shape_string(stacked), nullptr, places.front().name);
      return -1;
    }
    out_.used[static_cast<size_t>(at)] = true;
    const TensorView& view = raw_[static_cast<size_t>(at)];
    if (same_shape(view.shape, stacked) && is_self_contained(view.dtype)) return at;
    fault(spec, "a weight type and " + shape_string(stacked), &view, "");
    return -1;
  }

  bool fill_slot(TensorSlot& slot, const TensorSpec& spec, const TensorView& view) {
    if (spec.kind == StorageKind::I64) return fill_routing_table(slot, spec, view);
    if (spec.kind == StorageKind::Fp8Row && view.dtype == DType::I8) {
      return fill_engram_rows(slot, spec, view);
    }
    if (is_self_contained(view.dtype)) {
      const Shape by_group = {config_.o_groups, config_.o_lora_rank, spec.shape.back()};
      if (same_shape(view.shape, spec.shape)) return true;
      if (spec.name.ends_with(".wo_a.weight") && view.shape == by_group) return true;
    }
    fault(spec, "a weight type and " + shape_string(spec.shape), &view, "");
    return false;
  }

  bool fill_routing_table(TensorSlot& slot, const TensorSpec& spec, const TensorView& view) {
    slot.kind = StorageKind::I64;
    if ((view.dtype != DType::I32 && view.dtype != DType::I64) || view.shape != spec.shape) {
      fault(spec, describe(DType::I32, spec.shape), &view, "");
      return false;
    }
    check_routing_table(view, config_.n_routed_experts, out_.faults);
    return true;
  }

  /// An Engram table kept in bytes: rows of codes and scales, or codes beside a tensor of scales.
  bool fill_engram_rows(TensorSlot& slot, const TensorSpec& spec, const TensorView& view) {
    slot.kind = StorageKind::Fp8Row;
    const int64_t rows = spec.shape.at(0);
    const int64_t cols = spec.shape.at(1);
    const auto scale = model_names_.find(gguf_engram_scale(spec));
    if (scale != model_names_.end() && view.shape == spec.shape) {
      const TensorView& scales = raw_[scale->second];
      out_.used[scale->second] = true;
      slot.scale = static_cast<int64_t>(scale->second);
      if (scales.dtype == DType::I8 && scales.shape == Shape{rows, cols / kRowGroup}) return true;
      fault(spec, describe(DType::I8, {rows, cols / kRowGroup}), &scales, "");
      return false;
    }
    const std::string& encoding = tensors_.engram_encoding;
    const Shape inline_rows = {rows, cols + cols / kRowGroup};
    if ((encoding.empty() || encoding == kRow264) && view.shape == inline_rows) return true;
    fault(spec,
          encoding.empty() || encoding == kRow264
              ? describe(DType::I8, inline_rows)
              : fmt::format("rows in {} or a ggml type, not in {}", kRow264, printable(encoding)),
          &view, "");
    return false;
  }

  /// Half of the columns of a tensor that holds two matrices side by side.
  bool fill_half(TensorSlot& slot, const TensorSpec& spec, const TensorView& view, int half) {
    const Shape both = {spec.shape.at(0), 2 * spec.shape.at(1)};
    const auto cols = static_cast<uint64_t>(spec.shape.at(1));
    if (!is_self_contained(view.dtype) || view.shape != both || !row_bytes(view.dtype, cols)) {
      fault(spec, "a weight type and " + shape_string(both), &view, "");
      return false;
    }
    slot.col_begin = half * spec.shape.at(1);
    slot.cols = spec.shape.at(1);
    return true;
  }

  void mark_ignorable() {
    for (size_t i = 0; i < raw_.size(); ++i) {
      if (is_ignorable_gguf_tensor(raw_[i].name)) out_.used[i] = true;
    }
  }

  const GgufTensors& tensors_;
  const std::vector<TensorView>& raw_;
  const ModelConfig& config_;
  Names model_names_;
  Names draft_names_;
  std::array<int64_t, 3> stacks_ = {-1, -1, -1};
  MatchedTensors out_;
};

}  // namespace

MatchedTensors match_gguf(const GgufTensors& tensors, const ModelConfig& config) {
  return GgufMatcher(tensors, config).match();
}

}  // namespace lethe::internal
