#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/builtin_model.h"
#include "apps/commands.h"
#include "apps/inspection.h"
#include "apps/units.h"
#include "base/error.h"
#include "base/printable.h"

namespace lethe::apps {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxListed = 20;  // names in a list for people; --json has all

struct Options {
  std::string model;
  std::string draft;
  bool json = false;
  bool tensors = false;
  bool check = false;
};

/// A model with everything that was found out about it.
struct Report {
  const Checkpoint& checkpoint;
  const Inspection& inspection;
  bool checked = false;
  std::vector<std::string> nans;
  bool usable() const { return checkpoint.faults().empty() && nans.empty(); }
};

const char* family_name(const ModelConfig& config) {
  return config.family == ModelFamily::V4 ? "DeepSeek V4" : "DeepSeek V4.1";
}

std::string draft_text(const Checkpoint& checkpoint) {
  const int64_t blocks = checkpoint.config().num_nextn_predict_layers;
  if (!checkpoint.has_draft()) return "none";
  const bool mtp = checkpoint.config().family == ModelFamily::V4;
  return fmt::format("{} {}{}", blocks, mtp ? "MTP block" : "DSpark stage", blocks == 1 ? "" : "s");
}

void print_line(std::string_view label, const std::string& text) {
  fmt::print("  {:<12}{}\n", label, text);
}

void print_model(const Report& report) {
  const Checkpoint& checkpoint = report.checkpoint;
  const ModelConfig& c = checkpoint.config();
  fmt::print("{}\n", printable(checkpoint.path(), 4096));
  print_line("family", family_name(c));
  print_line("name", printable(c.name));
  print_line("layers", fmt::format("{}: {}", c.num_hidden_layers, layer_kinds(c)));
  if (c.num_hash_layers > 0)
    print_line("", fmt::format("{} routed by token id", c.num_hash_layers));
  if (!c.engram.layer_ids.empty()) {
    print_line("", fmt::format("{} with Engram", c.engram.layer_ids.size()));
  }
  print_line("width", fmt::format("{}, {} heads of {}, {} residual streams", c.hidden_size,
                                  c.num_attention_heads, c.head_dim, c.hc_mult));
  print_line("experts", fmt::format("{} routed ({} per token), width {}", c.n_routed_experts,
                                    c.num_experts_per_tok, c.moe_intermediate_size));
  print_line("vocabulary", fmt::format("{}", c.vocab_size));
  print_line("context", fmt::format("{} tokens", c.max_position_embeddings));
  print_line("draft", draft_text(checkpoint));
  const std::string& tokenizer = report.inspection.tokenizer;
  print_line("tokenizer", tokenizer.empty() ? "none" : tokenizer);
  print_line("files", fmt::format("{} {}, {}", checkpoint.files().size(),
                                  checkpoint.is_gguf() ? "GGUF" : "safetensors",
                                  bytes_text(report.inspection.file_bytes)));
}

/// "FP8 (block scales) 3.20 MB, F32 12.0 kB", largest first.
std::string encodings_text(const WeightSum& sum) {
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [encoding, bytes] : sum.bytes_by_encoding) order.emplace_back(bytes, encoding);
  std::sort(order.rbegin(), order.rend());
  std::vector<std::string> texts;
  for (const auto& [bytes, encoding] : order) {
    texts.push_back(order.size() == 1 ? encoding
                                      : fmt::format("{} {}", encoding, bytes_text(bytes)));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

void print_sum(std::string_view label, const WeightSum& sum, const std::string& encodings) {
  fmt::print("  {:<20}{:>8}{:>12}{:>12}  {}\n", label, sum.tensors, parameters_text(sum.parameters),
             bytes_text(sum.bytes), encodings);
}

void print_weights(const Inspection& inspection) {
  fmt::print("\n  {:<20}{:>8}{:>12}{:>12}  {}\n", "weights", "tensors", "parameters", "bytes",
             "encodings");
  for (int i = 0; i < kNumModelParts; ++i) {
    const WeightSum& sum = inspection.by_part[static_cast<size_t>(i)];
    if (sum.tensors == 0) continue;
    print_sum(model_part_name(static_cast<ModelPart>(i)), sum, encodings_text(sum));
  }
  print_sum("all", inspection.all, "");
  fmt::print("\n  {:<20}{:>8}{:>12}{:>12}\n", "by encoding", "tensors", "parameters", "bytes");
  for (const auto& [encoding, sum] : inspection.by_encoding) print_sum(encoding, sum, "");
}

void print_list(std::string_view title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  fmt::print("\n{} ({}):\n", title, names.size());
  const size_t listed = std::min(names.size(), kMaxListed);
  for (size_t i = 0; i < listed; ++i) fmt::print("  {}\n", printable(names[i], 4096));
  if (listed < names.size()) fmt::print("  and {} more\n", names.size() - listed);
}

void print_tensors(const Inspection& inspection) {
  fmt::print("\n");
  for (const InspectedTensor& tensor : inspection.tensors) {
    fmt::print("  {:<48} {:<22} {:<20} {}\n", tensor.spec.name, shape_string(tensor.spec.shape),
               tensor.encoding, bytes_text(tensor.bytes));
  }
}

void print_report(const Report& report, bool tensors) {
  const Checkpoint& checkpoint = report.checkpoint;
  print_model(report);
  print_weights(report.inspection);
  if (tensors) print_tensors(report.inspection);
  print_list("Fields of the configuration that Lethe does not know",
             checkpoint.config().unknown_fields);
  print_list("Tensors that the model does not need", checkpoint.unexpected_tensors());
  if (!checkpoint.faults().empty()) {
    fmt::print("\nFaults ({}):\n  {}\n", checkpoint.faults().size(), checkpoint.fault_summary());
  }
  if (report.checked && report.nans.empty()) fmt::print("\nEvery weight is a number.\n");
  print_list("Weights that are no numbers", report.nans);
  fmt::print("\n{}\n", report.usable() ? "This model can be used." : "This model cannot be used.");
}

Json sum_json(const WeightSum& sum) {
  return {{"tensors", sum.tensors},
          {"parameters", sum.parameters},
          {"bytes", sum.bytes},
          {"bytes_by_encoding", sum.bytes_by_encoding}};
}

Json weights_json(const Inspection& inspection) {
  Json json = sum_json(inspection.all);
  for (int i = 0; i < kNumModelParts; ++i) {
    const WeightSum& sum = inspection.by_part[static_cast<size_t>(i)];
    if (sum.tensors == 0) continue;
    json["by_part"][std::string(model_part_name(static_cast<ModelPart>(i)))] = sum_json(sum);
  }
  for (const auto& [encoding, sum] : inspection.by_encoding) {
    json["by_encoding"][encoding] = {
        {"tensors", sum.tensors}, {"parameters", sum.parameters}, {"bytes", sum.bytes}};
  }
  return json;
}

Json tensors_json(const Inspection& inspection) {
  Json json = Json::array();
  for (const InspectedTensor& tensor : inspection.tensors) {
    json.push_back({{"name", tensor.spec.name},
                    {"shape", tensor.spec.shape},
                    {"encoding", tensor.encoding},
                    {"bytes", tensor.bytes},
                    {"part", model_part_name(tensor.spec.part)},
                    {"file", tensor.file}});
  }
  return json;
}

Json model_json(const Report& report) {
  const Checkpoint& checkpoint = report.checkpoint;
  const ModelConfig& c = checkpoint.config();
  Json json;
  json["path"] = checkpoint.path();
  json["usable"] = report.usable();
  json["family"] = c.family == ModelFamily::V4 ? "v4" : "v4.1";
  json["name"] = c.name;
  json["format"] = checkpoint.is_gguf() ? "gguf" : "safetensors";
  json["layers"] = c.num_hidden_layers;
  json["compress_ratios"] = c.compress_ratios;
  json["hash_layers"] = c.num_hash_layers;
  json["engram_layers"] = c.engram.layer_ids;
  json["hidden_size"] = c.hidden_size;
  json["n_routed_experts"] = c.n_routed_experts;
  json["num_experts_per_tok"] = c.num_experts_per_tok;
  json["vocab_size"] = c.vocab_size;
  json["max_position_embeddings"] = c.max_position_embeddings;
  json["draft_blocks"] = checkpoint.has_draft() ? c.num_nextn_predict_layers : 0;
  json["tokenizer"] = report.inspection.tokenizer;
  return json;
}

void print_json(const Report& report, bool tensors) {
  const Checkpoint& checkpoint = report.checkpoint;
  Json json = model_json(report);
  json["files"] = Json::array();
  for (const MappedFile& file : checkpoint.files()) {
    json["files"].push_back({{"path", file.path()}, {"bytes", file.bytes().size()}});
  }
  json["weights"] = weights_json(report.inspection);
  if (tensors) json["tensors"] = tensors_json(report.inspection);
  json["unknown_config_fields"] = checkpoint.config().unknown_fields;
  json["unexpected_tensors"] = checkpoint.unexpected_tensors();
  json["faults"] = checkpoint.faults();
  json["checked_for_nan"] = report.checked;
  json["nan_tensors"] = report.nans;
  // Names in files need not be UTF-8.
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

void run(const Options& options) {
  const Checkpoint checkpoint = Checkpoint::open(
      model_path(options.model), {.require_all = false, .draft_file = options.draft});
  const Inspection inspection = inspect(checkpoint);
  Report report{checkpoint, inspection, options.check, {}};
  if (options.check) report.nans = find_nans(checkpoint, inspection);
  if (options.json) {
    print_json(report, options.tensors);
  } else {
    print_report(report, options.tensors);
  }
  if (report.usable()) return;
  throw LoadError("{}: {} faults were found; this model cannot be used.", options.model,
                  checkpoint.faults().size() + report.nans.size());
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("inspect", "What a checkpoint holds, checked against its configuration");
  command
      ->add_option("MODEL", options->model,
                   "A directory, a .safetensors, a .gguf, or name of the built-in model")
      ->required();
  command->add_option("--draft", options->draft,
                      "A GGUF with the MTP block (default: mtp*.gguf beside the model)");
  command->add_flag("--tensors", options->tensors, "List every tensor");
  command->add_flag("--check", options->check, "Read every weight and look for NaNs");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace lethe::apps
