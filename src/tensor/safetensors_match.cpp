#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <optional>

#include "base/printable.h"
#include "tensor/integers.h"
#include "tensor/tensor_match.h"

namespace lethe::internal {

namespace {

constexpr int64_t kRowScaleColumns = 32;  // columns per scale of FP4 and of the Engram table

void replace(std::string& text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

bool is_in_block(std::string_view name) {
  return name.starts_with("layers.") || name.starts_with("mtp.");
}

/// The official spelling of a name: without "model.", with attn, ffn, scale and bias for what other
/// tools write (spec/deepseek-v4.md section 2).
std::string official_name(std::string_view name) {
  constexpr std::string_view prefix = "model.";
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  std::string official(name);
  if (!is_in_block(name)) return official;
  replace(official, ".self_attn.", ".attn.");
  replace(official, ".mlp.", ".ffn.");
  replace(official, ".weight_scale_inv", ".scale");
  replace(official, ".gate.e_score_correction_bias", ".gate.bias");
  return official;
}

/// "layers.12.x" with stem "layers." -> 12.
std::optional<int64_t> number_after(std::string_view name, std::string_view stem) {
  const size_t at = name.find(stem);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = name.substr(at + stem.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const bool good = error == std::errc() && end != rest.data() + rest.size() && *end == '.';
  return good && number >= 0 && number < (int64_t{1} << 32) ? std::optional(number) : std::nullopt;
}

class SafetensorsMatcher {
 public:
  SafetensorsMatcher(const std::vector<TensorView>& raw,
                     const std::map<std::string, std::string, std::less<>>& unsupported,
                     const ModelConfig& config, std::string path)
      : raw_(raw), unsupported_(unsupported), config_(config), path_(std::move(path)) {}

  MatchedTensors match() {
    out_.used.assign(raw_.size(), false);
    index_names();
    out_.present = reconcile(config_, take_census(), path_, out_.faults);
    const ModelConfig& present = out_.present;
    const bool draft = find(present.family == ModelFamily::V4 ? "mtp.0.e_proj.weight"
                                                              : "mtp.0.main_proj.weight") >= 0;
    out_.has_draft = draft && present.num_nextn_predict_layers > 0;
    std::vector<TensorSpec> specs = expected_tensors(present);
    out_.slots.reserve(specs.size());
    for (TensorSpec& spec : specs) {
      if (!spec.draft || draft) match_spec(spec, present);
    }
    for (size_t i = 0; i < raw_.size(); ++i) {
      if (!out_.used[i] && is_ignorable_tensor(official_name(raw_[i].name))) out_.used[i] = true;
    }
    return std::move(out_);
  }

 private:
  void index_names() {
    by_name_.reserve(raw_.size());
    for (size_t i = 0; i < raw_.size(); ++i) {
      std::string official = official_name(raw_[i].name);
      std::string_view key = raw_[i].name;
      if (official != key) key = respelled_.emplace_back(std::move(official));
      const auto [at, is_new] = by_name_.emplace(key, static_cast<uint32_t>(i));
      if (is_new) continue;
      out_.faults.push_back({raw_[i].file, printable(raw_[i].name), "a tensor that is there once",
                             fmt::format("it a second time in {}", raw_[at->second].file)});
    }
  }

  Census take_census() const {
    Census census;
    for (const auto& [name, number] : by_name_) {
      const bool draft = name.starts_with("mtp.");
      if (!draft && !name.starts_with("layers.")) continue;
      if (!draft) {
        census.layers = std::max(census.layers, number_after(name, "layers.").value_or(-1) + 1);
      }
      const auto expert = number_after(name, ".ffn.experts.");
      if (!expert) continue;
      census.expert_matrices += name.ends_with(".weight") ? 1 : 0;
      int64_t& count = draft ? census.draft_experts : census.experts;
      count = std::max(count, *expert + 1);
    }
    // More than any configuration may have: leave it to the comparison of single tensors.
    if (census.experts > 4096) census.experts = -1;
    if (census.draft_experts > 4096) census.draft_experts = -1;
    return census;
  }

  int64_t find(std::string_view name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? -1 : static_cast<int64_t>(it->second);
  }

  void fault(const TensorSpec& spec, const std::string& name, std::string expected,
             const TensorView* found) {
    if (spec.draft) out_.has_draft = false;
    if (found != nullptr) {
      out_.faults.push_back({found->file, printable(found->name), std::move(expected),
                             describe(found->dtype, found->shape)});
      return;
    }
    const auto unusable = unsupported_.find(name);
    const std::string dtype = unusable == unsupported_.end() ? "nothing" : unusable->second;
    out_.faults.push_back({path_, name, std::move(expected), dtype});
  }

  /// The tensor as the release has it, for messages.
  static std::string expected_text(const TensorSpec& spec, const ModelConfig& config) {
    const TensorPlan plan = released_tensors(spec, config.fp8_block).front();
    return describe(plan.dtype, plan.shape);
  }

  void match_spec(TensorSpec& spec, const ModelConfig& present) {
    const int64_t at = find(spec.name);
    if (at < 0) return fault(spec, spec.name, expected_text(spec, present), nullptr);
    out_.used[static_cast<size_t>(at)] = true;
    const TensorView& view = raw_[static_cast<size_t>(at)];
    TensorSlot slot;
    slot.tensor = static_cast<uint32_t>(at);
    if (!fill_slot(slot, spec, view, present)) return;
    if (spec.kind == StorageKind::I64) {
      check_routing_table(view, present.n_routed_experts, out_.faults);
    }
    slot.shape = std::move(spec.shape);
    out_.slots.emplace(std::move(spec.name), std::move(slot));
  }

  /// Decides what the tensor is from its own dtype; false after a fault.
  bool fill_slot(TensorSlot& slot, const TensorSpec& spec, const TensorView& view,
                 const ModelConfig& present) {
    const bool scaled = has_scale(spec.kind);
    Shape stored = spec.shape;
    if (spec.kind == StorageKind::I64) {
      slot.kind = StorageKind::I64;
      if ((view.dtype != DType::I64 && view.dtype != DType::I32) || view.shape != stored) {
        fault(spec, spec.name, expected_text(spec, present), &view);
        return false;
      }
      return true;
    }
    if (is_self_contained(view.dtype)) {
      slot.kind = StorageKind::F32;
      return check_shape(spec, view, stored, present);
    }
    if (scaled && view.dtype == DType::F8_E4M3) {
      slot.kind = spec.kind == StorageKind::Fp8Row ? StorageKind::Fp8Row : StorageKind::Fp8Block;
      return check_shape(spec, view, stored, present) && fill_scale(slot, spec, present);
    }
    const bool packed = view.dtype == DType::I8 || view.dtype == DType::U8;
    if (packed && spec.expert >= 0 && spec.shape.back() % kRowScaleColumns == 0) {
      slot.kind = StorageKind::Fp4Row;
      stored.back() /= 2;
      return check_shape(spec, view, stored, present) && fill_scale(slot, spec, present);
    }
    fault(spec, spec.name, expected_text(spec, present), &view);
    return false;
  }

  bool check_shape(const TensorSpec& spec, const TensorView& view, const Shape& stored,
                   const ModelConfig& present) {
    if (view.shape == stored) return true;
    const Shape by_group = {present.o_groups, present.o_lora_rank, stored.back()};
    if (spec.name.ends_with(".wo_a.weight") && view.shape == by_group) return true;
    fault(spec, spec.name, describe(view.dtype, stored), &view);
    return false;
  }

  bool fill_scale(TensorSlot& slot, const TensorSpec& spec, const ModelConfig& present) {
    const int64_t rows = spec.shape.at(0);
    const int64_t cols = spec.shape.at(1);
    const int64_t block = present.fp8_block;
    const Shape shape = slot.kind == StorageKind::Fp8Block
                            ? Shape{ceil_div(rows, block), ceil_div(cols, block)}
                            : Shape{rows, ceil_div(cols, kRowScaleColumns)};
    const std::string name = scale_name(spec.name);
    const int64_t at = find(name);
    const TensorView* view = at < 0 ? nullptr : &raw_[static_cast<size_t>(at)];
    if (view != nullptr) out_.used[static_cast<size_t>(at)] = true;
    const bool good =
        view != nullptr && view->shape == shape &&
        (view->dtype == DType::F8_E8M0 || view->dtype == DType::U8 || view->dtype == DType::F32);
    if (!good) fault(spec, name, describe(DType::F8_E8M0, shape), view);
    slot.scale = at;
    return good;
  }

  const std::vector<TensorView>& raw_;
  const std::map<std::string, std::string, std::less<>>& unsupported_;
  const ModelConfig& config_;
  std::string path_;
  std::deque<std::string> respelled_;
  std::unordered_map<std::string_view, uint32_t> by_name_;
  MatchedTensors out_;
};

}  // namespace

MatchedTensors match_safetensors(const std::vector<TensorView>& raw,
                                 const std::map<std::string, std::string, std::less<>>& unsupported,
                                 const ModelConfig& config, const std::string& path) {
  return SafetensorsMatcher(raw, unsupported, config, path).match();
}

}  // namespace lethe::internal
