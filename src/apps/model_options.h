#pragma once

#include <memory>
#include <string>

#include "apps/compute_options.h"
#include "engine/engine_options.h"
#include "serve/served_model.h"

namespace CLI {
class App;
}

namespace lethe::apps {

/// Options of every command that generates text: which model, on how much of the machine.
struct ModelOptions {
  std::string model;
  std::string draft_file;
  std::string prompt_format;
  ComputeOptions compute;
  int64_t memory_bytes = 0;
  int64_t prefill_chunk = 0;  ///< 0: engine::default_prefill_chunk()
  bool no_prefix_cache = false;
};
void add_model_options(CLI::App& command, ModelOptions& options);

/// Opens the model. What a user should know about it (that it is the built-in one, that its
/// tokenizer lacks tokens) goes to stderr, unless `quiet`. Throws LoadError, UsageError.
std::unique_ptr<serve::ServedModel> open_model(const ModelOptions& options, bool quiet);

engine::EngineOptions engine_options(const ModelOptions& options);

}  // namespace lethe::apps
