#include "apps/model_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/builtin_model.h"
#include "apps/expert_cache_text.h"

namespace lethe::apps {

void add_model_options(CLI::App& command, ModelOptions& options) {
  options.model = kDefaultModel;
  command
      .add_option("-m,--model", options.model,
                  "Directory with the released files, .gguf, or name of the built-in model")
      ->capture_default_str();
  command.add_option("--draft", options.draft_file,
                     "GGUF with the MTP block (default: a sibling mtp*.gguf)");
  command
      .add_option("--prompt-format", options.prompt_format,
                  "v4_preview, v4_ga or v41 (default: found out from the model)")
      ->check(CLI::IsMember({"v4_preview", "v4_ga", "v41"}));
  add_compute_options(command, options.compute);
  command
      .add_option("--memory", options.memory_bytes,
                  "Memory of conversations and cached prefixes, e.g. 4GB (default: a quarter of "
                  "what is free); weights are not in it")
      ->transform(CLI::AsSizeValue(true));
  command
      .add_option("--prefill-chunk", options.prefill_chunk,
                  "Prompt tokens per step (default: 512 or 1024, by the model's experts)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command.add_flag("--no-prefix-cache", options.no_prefix_cache,
                   "Compute every prompt from its beginning");
}

std::unique_ptr<serve::ServedModel> open_model(const ModelOptions& options, bool quiet) {
  auto model = std::make_unique<serve::ServedModel>(
      serve::ServedModelOptions{.path = model_path(options.model),
                                .profile = options.prompt_format,
                                .draft_file = options.draft_file,
                                .threads = options.compute.threads,
                                .pinning = pinning(options.compute),
                                .numerics = ops::parse_numerics(options.compute.numerics),
                                .isa = options.compute.isa,
                                .model = model_options(options.compute),
                                .weights = weight_options(options.compute, options.memory_bytes)});
  if (quiet) return model;
  if (const std::string_view notice = builtin_notice(options.model); !notice.empty()) {
    fmt::print(stderr, "lethe: {}\n", notice);
  }
  if (const model::ExpertCache* cache = model->model().expert_cache()) {
    fmt::print(stderr, "lethe: {}\n", expert_cache_notice(*cache));
  }
  if (!model->missing_tokens().empty()) {
    fmt::print(stderr,
               "lethe: this model's tokenizer has no {}: conversations that need them are "
               "refused{}.\n",
               fmt::join(model->missing_tokens(), ", "),
               model->can_think() ? "" : " (so is thinking)");
  }
  return model;
}

engine::EngineOptions engine_options(const ModelOptions& options) {
  engine::EngineOptions out;
  out.prefill_chunk = options.prefill_chunk;
  out.memory_bytes = options.memory_bytes;
  out.prefix_cache = !options.no_prefix_cache;
  return out;
}

}  // namespace lethe::apps
