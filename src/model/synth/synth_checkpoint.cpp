#include "model/synth/synth_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/progress.h"
#include "model/synth/gguf_layout.h"
#include "model/synth/output_directory.h"
#include "model/synth/synth_weights.h"
#include "tensor/inventory.h"
#include "tensor/safetensors.h"

namespace lethe::synth {

namespace {

uint64_t bytes_of(const TensorPlan& plan) {
  const auto columns = static_cast<uint64_t>(plan.shape.back());
  const auto rows = static_cast<uint64_t>(num_elements(plan.shape)) / columns;
  return rows * row_bytes(plan.dtype, columns).value();
}

uint64_t bytes_of(const std::vector<OutputTensor>& tensors) {
  uint64_t bytes = 0;
  for (const OutputTensor& tensor : tensors) bytes += bytes_of(tensor.plan);
  return bytes;
}

std::vector<TensorPlan> plans_of(const std::vector<OutputTensor>& tensors) {
  std::vector<TensorPlan> plans;
  plans.reserve(tensors.size());
  for (const OutputTensor& tensor : tensors) plans.push_back(tensor.plan);
  return plans;
}

/// Refuses a configuration that the readers would refuse: options can contradict each other.
void check_config(const ModelConfig& config) {
  const std::vector<std::string> faults = config_faults(config);
  if (!faults.empty()) {
    throw UsageError("These options give no valid model: {}", fmt::join(faults, "; "));
  }
}

/// Streams tensors into a file, piece by piece.
class TensorStreamer {
 public:
  TensorStreamer(uint64_t total_bytes, const std::atomic<bool>* cancelled)
      : progress_("writing", static_cast<int64_t>(total_bytes), "bytes"), cancelled_(cancelled) {}

  template <typename Writer>
  void write(const std::vector<OutputTensor>& tensors, Writer& writer) {
    for (const OutputTensor& tensor : tensors) write_one(tensor, writer);
    writer.finish();
  }

 private:
  template <typename Writer>
  void write_one(const OutputTensor& tensor, Writer& writer) {
    constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
    const TensorSourcePtr source = tensor.make();
    const uint64_t granule = source->granule();
    const uint64_t piece = std::max<uint64_t>(1, kPieceBytes / granule) * granule;
    const uint64_t size = bytes_of(tensor.plan);
    for (uint64_t begin = 0; begin < size; begin += piece) {
      if (cancelled_ != nullptr && cancelled_->load()) {
        throw Error("Interrupted. What was written so far is removed.");
      }
      buffer_.resize(std::min(piece, size - begin));
      source->fill(begin, buffer_);
      writer.append(buffer_);
      progress_.advance(static_cast<int64_t>(buffer_.size()));
    }
  }

  Progress progress_;
  const std::atomic<bool>* cancelled_;
  std::vector<std::byte> buffer_;
};

void write_text(const std::string& path, std::string_view text) {
  FileWriter writer(path);
  writer.write(text);
  writer.commit();
}

using Shard = std::vector<OutputTensor>;

/// Consecutive tensors, up to `shard_size` bytes of them; a weight stays with its scales. Within a
/// shard by falling alignment.
std::vector<Shard> make_shards(const ModelConfig& config, const SynthOptions& options) {
  std::vector<Shard> shards(1);
  uint64_t filled = 0;
  for (const TensorSpec& spec : expected_tensors(config)) {
    std::vector<OutputTensor> outputs = released_outputs(config, spec, options.seed);
    const uint64_t bytes = bytes_of(outputs);
    if (filled > 0 && filled + bytes > options.shard_size) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    std::move(outputs.begin(), outputs.end(), std::back_inserter(shards.back()));
  }
  for (Shard& shard : shards) {
    std::stable_sort(shard.begin(), shard.end(), [](const OutputTensor& a, const OutputTensor& b) {
      return dtype_info(a.plan.dtype).block_bytes > dtype_info(b.plan.dtype).block_bytes;
    });
  }
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

std::string index_json(const std::vector<Shard>& shards, uint64_t total_bytes) {
  nlohmann::json weight_map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const OutputTensor& tensor : shards[i]) {
      weight_map[tensor.plan.name] = shard_name(i, shards.size());
    }
  }
  return nlohmann::json{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}}
             .dump(1) +
         "\n";
}

SynthReport write_safetensors(const ModelConfig& config, const Vocabulary& vocabulary,
                              const SynthOptions& options, const std::atomic<bool>* cancelled) {
  if (options.expert_encoding || options.dense_encoding) {
    throw UsageError(
        "--expert-encoding and --dense-encoding are for --format gguf: safetensors have the "
        "released encodings.");
  }
  const std::vector<Shard> shards = make_shards(config, options);
  SynthReport report;
  for (const Shard& shard : shards) {
    report.bytes += bytes_of(shard);
    report.tensors += static_cast<int64_t>(shard.size());
  }
  OutputDirectory directory(options.out, options.force);
  directory.require_space(report.bytes);
  write_text(directory.path("config.json"), to_hf_config_json(config));
  write_text(directory.path("tokenizer.json"), tokenizer_json(vocabulary));
  write_text(directory.path("tokenizer_config.json"), tokenizer_config_json(vocabulary));
  {
    TensorStreamer streamer(report.bytes, cancelled);
    for (size_t i = 0; i < shards.size(); ++i) {
      const std::string path = directory.path(shard_name(i, shards.size()));
      SafetensorsWriter writer(path, plans_of(shards[i]), {{"format", "pt"}});
      streamer.write(shards[i], writer);
      report.files.push_back(path);
    }
  }
  if (shards.size() > 1) {
    write_text(directory.path("model.safetensors.index.json"), index_json(shards, report.bytes));
  }
  directory.keep();
  return report;
}

SynthReport write_gguf(const ModelConfig& config, const Vocabulary& vocabulary,
                       const SynthOptions& options, const std::atomic<bool>* cancelled) {
  std::vector<std::pair<std::string, GgufLayout>> files;
  files.emplace_back("model.gguf", gguf_model(config, vocabulary, options));
  if (config.num_nextn_predict_layers > 0) {
    files.emplace_back("mtp.gguf", gguf_draft(config, vocabulary, options));
  }
  SynthReport report;
  for (const auto& [name, layout] : files) {
    report.bytes += bytes_of(layout.tensors);
    report.tensors += static_cast<int64_t>(layout.tensors.size());
  }
  OutputDirectory directory(options.out, options.force);
  directory.require_space(report.bytes);
  {
    TensorStreamer streamer(report.bytes, cancelled);
    for (const auto& [name, layout] : files) {
      const std::string path = directory.path(name);
      GgufWriter writer(path, layout.metadata, plans_of(layout.tensors));
      streamer.write(layout.tensors, writer);
      report.files.push_back(path);
    }
  }
  directory.keep();
  return report;
}

}  // namespace

SynthReport synth_checkpoint(const SynthOptions& options, const std::atomic<bool>* cancelled) {
  const Vocabulary vocabulary = synth_vocabulary(options);
  const ModelConfig config = synth_config(options, vocabulary);
  check_config(config);
  return options.gguf ? write_gguf(config, vocabulary, options, cancelled)
                      : write_safetensors(config, vocabulary, options, cancelled);
}

}  // namespace lethe::synth
