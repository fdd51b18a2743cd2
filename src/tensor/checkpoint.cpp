#include "tensor/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>

#include "base/error.h"
#include "tensor/checkpoint_files.h"
#include "tensor/gguf.h"
#include "tensor/safetensors.h"
#include "tensor/tensor_match.h"

namespace lethe {

struct Checkpoint::Index {
  internal::SlotMap slots;
  std::optional<GgufFile> gguf;
};

namespace {

using internal::GgufTensors;
using internal::MatchedTensors;
using internal::ModelFiles;
using internal::TensorFault;
using internal::TensorSlot;

void append(std::vector<TensorView>& to, const std::vector<TensorView>& from) {
  to.insert(to.end(), from.begin(), from.end());
}
void append(std::vector<MappedFile>& to, const std::vector<MappedFile>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

std::string text_value(const GgufFile& gguf, std::string_view key) {
  const GgufValue* value = gguf.value(key);
  return value == nullptr ? "" : std::string(value->as_string().value_or(""));
}

/// A draft file repeats the trunk's metadata: what differs shows that it belongs to another model.
void compare_draft(const ModelConfig& model, const ModelConfig& draft, const std::string& path,
                   std::vector<TensorFault>& faults) {
  struct Field {
    const char* name;
    int64_t ModelConfig::*value;
  };
  constexpr Field kFields[] = {{"vocab_size", &ModelConfig::vocab_size},
                               {"hidden_size", &ModelConfig::hidden_size},
                               {"num_hidden_layers", &ModelConfig::num_hidden_layers},
                               {"num_attention_heads", &ModelConfig::num_attention_heads},
                               {"head_dim", &ModelConfig::head_dim},
                               {"qk_rope_head_dim", &ModelConfig::qk_rope_head_dim},
                               {"q_lora_rank", &ModelConfig::q_lora_rank},
                               {"o_groups", &ModelConfig::o_groups},
                               {"o_lora_rank", &ModelConfig::o_lora_rank},
                               {"sliding_window", &ModelConfig::sliding_window},
                               {"n_routed_experts", &ModelConfig::n_routed_experts},
                               {"num_experts_per_tok", &ModelConfig::num_experts_per_tok},
                               {"moe_intermediate_size", &ModelConfig::moe_intermediate_size},
                               {"hc_mult", &ModelConfig::hc_mult}};
  for (const Field& field : kFields) {
    if (model.*field.value == draft.*field.value) continue;
    faults.push_back({path, field.name,
                      fmt::format("{} as in the model that it drafts for", model.*field.value),
                      fmt::format("{}", draft.*field.value)});
  }
}

/// The trunk's configuration with the draft blocks of its draft file.
void adopt_draft(ModelConfig& model, const ModelConfig& draft) {
  model.num_nextn_predict_layers = draft.num_nextn_predict_layers;
  model.compress_ratios.resize(static_cast<size_t>(model.num_hidden_layers));
  const auto first = draft.compress_ratios.begin() + draft.num_hidden_layers;
  model.compress_ratios.insert(model.compress_ratios.end(), first, draft.compress_ratios.end());
}

/// The bytes and shape of a slot's piece of its tensor.
TensorView view_of(const TensorView& raw, const TensorSlot& slot) {
  TensorView view = raw;
  if (slot.cols < 0) view.shape = slot.shape;
  if (slot.part < 0) return view;
  const uint64_t parts = static_cast<uint64_t>(num_elements(raw.shape) / num_elements(slot.shape));
  const uint64_t bytes = raw.data.size() / parts;
  const uint64_t begin = static_cast<uint64_t>(slot.part) * bytes;
  view.data = raw.data.subspan(begin, bytes);
  view.offset = raw.offset + begin;
  return view;
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& path, const OpenOptions& options) {
  const ModelFiles files = internal::locate_model(path);
  Checkpoint c;
  c.path_ = path;
  c.directory_ = files.directory;
  c.is_gguf_ = !files.gguf.empty();
  auto index = std::make_shared<Index>();
  MatchedTensors matched =
      c.is_gguf_ ? c.read_gguf(files, options, *index) : c.read_safetensors(files);
  c.fault_summary_ = internal::fault_summary(matched.faults);
  if (!matched.faults.empty() && options.require_all) {
    throw LoadError("{}: this model cannot be used ({} faults):\n  {}", path, matched.faults.size(),
                    c.fault_summary_);
  }
  for (const TensorFault& fault : matched.faults) c.faults_.push_back(fault.line());
  for (size_t i = 0; i < c.raw_.size(); ++i) {
    if (!matched.used[i]) c.unexpected_.push_back(c.raw_[i].name);
  }
  c.has_draft_ = matched.has_draft;
  c.present_ = std::move(matched.present);
  index->slots = std::move(matched.slots);
  c.index_ = std::move(index);
  return c;
}

MatchedTensors Checkpoint::read_safetensors(const ModelFiles& files) {
  config_ = read_hf_config(files.config);
  std::map<std::string, std::string, std::less<>> unsupported;
  const auto add = [this, &unsupported](const SafetensorsFile& file) {
    append(files_, file.files());
    append(raw_, file.tensors());
    unsupported.insert(file.unsupported().begin(), file.unsupported().end());
  };
  if (!files.index.empty()) add(SafetensorsFile::open_sharded(files.index));
  for (const std::string& path : files.safetensors) add(SafetensorsFile::open(path));
  const std::string source = !files.index.empty()            ? files.index
                             : files.safetensors.size() == 1 ? files.safetensors.front()
                                                             : files.directory;
  return internal::match_safetensors(raw_, unsupported, config_, source);
}

MatchedTensors Checkpoint::read_gguf(const ModelFiles& files, const OpenOptions& options,
                                     Index& index) {
  index.gguf = GgufFile::open(files.gguf);
  config_ = read_gguf_config(*index.gguf);
  append(files_, index.gguf->files());
  append(raw_, index.gguf->tensors());
  GgufTensors tensors;
  tensors.raw = &raw_;
  tensors.draft_begin = raw_.size();
  tensors.path = files.gguf;
  tensors.engram_encoding = text_value(*index.gguf, "engram.encoding");
  if (tensors.engram_encoding.empty()) {
    tensors.engram_encoding = text_value(*index.gguf, "deepseek41.engram.encoding");
  }
  std::vector<TensorFault> draft_faults;
  tensors.draft_path =
      options.draft_file.empty() ? internal::locate_draft(files.gguf) : options.draft_file;
  if (!tensors.draft_path.empty()) {
    const GgufFile draft = GgufFile::open(tensors.draft_path);
    const ModelConfig draft_config = read_gguf_config(draft);
    compare_draft(config_, draft_config, tensors.draft_path, draft_faults);
    append(files_, draft.files());
    append(raw_, draft.tensors());
    if (draft_faults.empty()) adopt_draft(config_, draft_config);
  }
  MatchedTensors matched = internal::match_gguf(tensors, config_);
  matched.faults.insert(matched.faults.begin(), draft_faults.begin(), draft_faults.end());
  return matched;
}

std::optional<StoredWeight> Checkpoint::find(std::string_view official_name) const {
  const auto it = index_->slots.find(official_name);
  if (it == index_->slots.end()) return std::nullopt;
  const TensorSlot& slot = it->second;
  StoredWeight stored;
  stored.tensor = view_of(raw_[slot.tensor], slot);
  stored.kind = slot.kind;
  stored.col_begin = slot.col_begin;
  stored.cols = slot.cols;
  if (slot.scale >= 0) {
    stored.scale = raw_[static_cast<size_t>(slot.scale)];
    if (stored.scale->dtype == DType::I8) stored.scale->dtype = DType::U8;
  }
  return stored;
}

StoredWeight Checkpoint::get(std::string_view official_name) const {
  std::optional<StoredWeight> stored = find(official_name);
  if (!stored) throw LoadError("{}: the tensor {} is missing.", path_, official_name);
  return *std::move(stored);
}

const GgufFile* Checkpoint::gguf() const noexcept {
  return index_ != nullptr && index_->gguf ? &*index_->gguf : nullptr;
}

void Checkpoint::move_tensors(std::span<const Moved> moved, std::shared_ptr<const void> memory) {
  for (TensorView& tensor : raw_) {
    const std::byte* const begin = tensor.data.data();
    const auto after = std::ranges::upper_bound(
        moved, begin, std::less<>(), [](const Moved& piece) { return piece.mapped.data(); });
    if (after == moved.begin()) continue;
    const Moved& piece = *std::prev(after);
    const auto at = static_cast<size_t>(begin - piece.mapped.data());
    if (at > piece.mapped.size() || tensor.data.size() > piece.mapped.size() - at) continue;
    tensor.data = {piece.now + at, tensor.data.size()};
  }
  moved_ = std::move(memory);
}

void Checkpoint::check_unchanged() const {
  for (const MappedFile& file : files_) file.check_unchanged();
}

}  // namespace lethe
