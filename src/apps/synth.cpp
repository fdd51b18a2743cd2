#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "apps/commands.h"
#include "base/error.h"
#include "model/synth/synth_checkpoint.h"
#include "model/synth/tensor_source.h"

namespace lethe::apps {

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

/// While it lives, Ctrl-C and SIGTERM ask the run to stop and clean up.
class InterruptGuard {
 public:
  InterruptGuard()
      : old_int_(std::signal(SIGINT, [](int) { interrupted = true; })),
        old_term_(std::signal(SIGTERM, [](int) { interrupted = true; })) {}
  ~InterruptGuard() {
    std::signal(SIGINT, old_int_);
    std::signal(SIGTERM, old_term_);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  void (*old_int_)(int);
  void (*old_term_)(int);
};

struct SynthCommand {
  synth::SynthOptions synth;
  std::string format = "safetensors";
  std::string expert_encoding;
  std::string dense_encoding;
  std::optional<bool> draft;
  bool json = false;
};

/// "q4_k", "Q4_K": a GGUF weight type.
std::optional<DType> parse_encoding(const char* flag, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto same = [&text](std::string_view name) {
    return std::equal(name.begin(), name.end(), text.begin(), text.end(), [](char a, char b) {
      return a == std::toupper(static_cast<unsigned char>(b));
    });
  };
  std::vector<std::string_view> names;
  for (const DTypeInfo& info : all_dtypes()) {
    const bool plain =
        info.dtype == DType::F32 || info.dtype == DType::F16 || info.dtype == DType::BF16;
    if (!plain && !synth::is_block_encoding(info.dtype)) continue;
    if (same(info.name)) return info.dtype;
    names.push_back(info.name);
  }
  throw UsageError("{} {}: expected one of {}.", flag, text, fmt::join(names, ", "));
}

/// Drafts are written unless refused. A GGUF of V4.1 has none: its drafter is a model of its own.
bool with_draft(const SynthCommand& options) {
  const bool v41 = preset_config(options.synth.preset).family == ModelFamily::V41;
  if (!options.synth.gguf || !v41) return options.draft.value_or(true);
  if (options.draft.value_or(false)) {
    throw UsageError("--draft: the draft stages of V4.1 can be written as safetensors only.");
  }
  return false;
}

void write_synthetic(SynthCommand options) {
  synth::SynthOptions& synth = options.synth;
  synth.gguf = options.format == "gguf";
  synth.expert_encoding = parse_encoding("--expert-encoding", options.expert_encoding);
  synth.dense_encoding = parse_encoding("--dense-encoding", options.dense_encoding);
  synth.draft = with_draft(options);
  const InterruptGuard guard;
  const auto begin = std::chrono::steady_clock::now();
  const synth::SynthReport report = synth::synth_checkpoint(synth, &interrupted);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  if (options.json) {
    const nlohmann::ordered_json summary{{"out", synth.out},
                                         {"tensors", report.tensors},
                                         {"bytes", report.bytes},
                                         {"files", report.files},
                                         {"seconds", elapsed.count()}};
    fmt::print("{}\n", summary.dump());
    return;
  }
  fmt::print("{}: {} tensors, {:.2f} GB in {} {}, {:.1f} s\n", synth.out, report.tensors,
             static_cast<double>(report.bytes) * 1e-9, report.files.size(),
             report.files.size() == 1 ? "file" : "files", elapsed.count());
}

}  // namespace

void add_synth(CLI::App& app) {
  auto options = std::make_shared<SynthCommand>();
  synth::SynthOptions& synth = options->synth;
  CLI::App* command =
      app.add_subcommand("synth", "Write a checkpoint of random weights, for tests and benchmarks");
  command->add_option("--preset", synth.preset, fmt::format("{}", fmt::join(preset_names(), ", ")))
      ->required();
  command->add_option("--out", synth.out, "Directory to write")->required();
  command->add_option("--layers", synth.layers, "Layers, in the preset's pattern");
  command->add_option("--experts", synth.experts, "Routed experts per layer");
  command->add_option("--vocab", synth.vocab, "Vocabulary size");
  command->add_option("--engram-rows", synth.engram_rows, "V4.1: rows per Engram table, about");
  command->add_option("--seed", synth.seed, "Random seed")->capture_default_str();
  command->add_option("--format", options->format, "safetensors or gguf")
      ->check(CLI::IsMember({"safetensors", "gguf"}))
      ->capture_default_str();
  command->add_option("--expert-encoding", options->expert_encoding,
                      "GGUF type of routed experts (MXFP4)");
  command->add_option("--dense-encoding", options->dense_encoding,
                      "GGUF type of other matrices (Q8_0)");
  command->add_flag_function(
      "--draft,!--no-draft", [options](int64_t count) { options->draft = count > 0; },
      "Write the draft blocks (default)");
  command->add_option("--shard-size", synth.shard_size, "Bytes per .safetensors file")
      ->transform(CLI::AsSizeValue(true))
      ->capture_default_str();
  command->add_flag("--force", synth.force, "Replace the checkpoint in a directory");
  command->add_flag("--json", options->json, "Summary as JSON");
  command->callback([options] { write_synthetic(*options); });
}

}  // namespace lethe::apps
