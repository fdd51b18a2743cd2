#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/builtin_model.h"
#include "apps/checkpoint_cost.h"
#include "apps/commands.h"
#include "apps/compute_options.h"
#include "base/error.h"
#include "base/progress.h"
#include "model/draft_run.h"
#include "model/model.h"
#include "ops/top_k.h"
#include "tensor/safetensors.h"

namespace lethe::apps {

namespace {

constexpr int64_t kBestShown = 5;

struct LogitsOptions {
  std::string model{kDefaultModel};
  std::string tokens_file;
  std::string out;
  ComputeOptions compute;
  std::string draft_file;
  std::string dump_out;
  std::vector<std::string> dump;
  int64_t chunk = 512;
  int64_t decode_from = -1;
  bool mtp = false;
  bool stale_index_keys = false;
  bool json = false;
};

std::vector<int32_t> read_tokens(const std::string& path) {
  std::ifstream in(path);
  if (!in)
    throw UsageError("{}: cannot be read; --tokens-file wants a JSON list of token ids", path);
  const nlohmann::json root = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json* list = &root;
  for (const char* key : {"tokens", "ids"}) {
    if (root.is_object() && root.contains(key)) list = &root[key];
  }
  if (!list->is_array() || list->empty()) {
    throw UsageError("{}: expected a JSON list of token ids, [1, 2, 3], or {{\"tokens\": [...]}}",
                     path);
  }
  std::vector<int32_t> tokens;
  for (const nlohmann::json& item : *list) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > INT32_MAX) {
      throw UsageError("{}: entry {} is {}, not a token id", path, tokens.size(), item.dump());
    }
    tokens.push_back(item.get<int32_t>());
  }
  return tokens;
}

/// A NaN or infinity must never leave as if it were a result.
void require_finite(std::span<const float> logits, int64_t position) {
  const auto bad =
      std::find_if(logits.begin(), logits.end(), [](float value) { return !std::isfinite(value); });
  if (bad == logits.end()) return;
  throw Error(
      "the logits of position {} are not finite (token {} is {}): the weights hold NaN or "
      "out-of-range values; `lethe inspect --check` finds the tensor",
      position, bad - logits.begin(), *bad);
}

std::span<const std::byte> bytes_of(std::span<const float> values) {
  return std::as_bytes(values);
}

void write_dump(const std::string& path, const model::Trace& trace,
                const std::vector<std::string>& patterns) {
  if (trace.entries().empty()) {
    throw UsageError("--dump {}: no intermediate has such a name; docs/logits.md lists them",
                     fmt::join(patterns, " "));
  }
  std::vector<TensorPlan> plans;
  for (const auto& [name, entry] : trace.entries()) {
    plans.push_back({name, entry.integer ? DType::I32 : DType::F32, entry.shape()});
  }
  SafetensorsWriter writer(path, plans);
  for (const auto& [name, entry] : trace.entries()) {
    if (entry.integer) {
      writer.append(std::as_bytes(std::span<const int32_t>(entry.int_values())));
    } else {
      writer.append(bytes_of(entry.values()));
    }
  }
  writer.finish();
}

/// Runs the tokens through the model in the wanted chunks and hands out each chunk's result.
class LogitsRun {
 public:
  explicit LogitsRun(const LogitsOptions& options)
      : options_(options),
        tokens_(read_tokens(options.tokens_file)),
        checkpoint_(
            Checkpoint::open(model_path(options.model), {.draft_file = options.draft_file})),
        team_(options.compute.threads, pinning(options.compute)),
        device_(make_device(team_, options.compute)),
        model_(load()),
        state_(model_->new_state()) {
    if (options.mtp) draft_ = model::make_draft_run(*model_, tokens_, first_draft_position());
    if (!options.dump.empty()) trace_.emplace(options.dump);
  }

  void run() {
    const auto total = static_cast<int64_t>(tokens_.size());
    std::vector<TensorPlan> plans{{"logits", DType::F32, {total, model_->config().vocab_size}}};
    if (draft_) {
      for (const TensorPlan& plan : draft_->outputs()) plans.push_back(plan);
    }
    SafetensorsWriter writer(options_.out, plans, {{"numerics", options_.compute.numerics}});
    Progress progress("logits", total, "tokens");
    for (int64_t begin = 0; begin < total;) {
      const int64_t end = chunk_end(begin);
      const ops::Matrix logits = step(begin, end);
      writer.append(bytes_of(logits.values()));
      const std::span<const float> last = logits.row(logits.rows() - 1);
      last_logits_.assign(last.begin(), last.end());
      progress.advance(end - begin);
      begin = end;
    }
    best_next_ = ops::top_k(last_logits_, kBestShown);
    if (draft_) draft_->write(writer);
    checkpoint_.check_unchanged();
    if (trace_) write_dump(dump_path(), *trace_, options_.dump);
    writer.finish();
  }

  void report() const {
    if (options_.json) {
      nlohmann::ordered_json best = nlohmann::ordered_json::array();
      for (const int32_t id : best_next_) {
        best.push_back({{"id", id}, {"logit", last_logits_[static_cast<size_t>(id)]}});
      }
      const nlohmann::ordered_json summary{{"tokens", tokens_.size()},
                                           {"vocab", model_->config().vocab_size},
                                           {"numerics", options_.compute.numerics},
                                           {"isa", device_.kernels().name},
                                           {"state_bytes", state_.size_bytes()},
                                           {"best_next", best},
                                           {"out", options_.out}};
      fmt::print("{}\n", summary.dump());
    } else {
      fmt::print("{} tokens -> {} (numerics {}, isa {}, sequence state {:.1f} MB)\n",
                 tokens_.size(), options_.out, options_.compute.numerics, device_.kernels().name,
                 static_cast<double>(state_.size_bytes()) / 1e6);
      fmt::print("best next tokens:");
      for (const int32_t id : best_next_) {
        fmt::print("  {} ({:.3f})", id, last_logits_[static_cast<size_t>(id)]);
      }
      fmt::print("\n");
    }
  }

 private:
  std::unique_ptr<model::Model> load() {
    const int64_t states = state_bytes(checkpoint_.config(), static_cast<int64_t>(tokens_.size()));
    const auto placed =
        model::place_weights(checkpoint_, team_, weight_options(options_.compute, states));
    device_.set_replicas(placed.replicas);
    return model::load_model(checkpoint_, device_,
                             {.stale_index_keys = options_.stale_index_keys,
                              .expert_cache_bytes = placed.expert_cache_bytes});
  }

  int64_t first_draft_position() const {
    return options_.decode_from >= 0 ? options_.decode_from
                                     : static_cast<int64_t>(tokens_.size()) - 1;
  }

  int64_t chunk_end(int64_t begin) const {
    const auto total = static_cast<int64_t>(tokens_.size());
    const int64_t prefill =
        options_.decode_from < 0 ? total : std::min(options_.decode_from, total);
    if (begin >= prefill) return begin + 1;
    return std::min(begin + options_.chunk, prefill);
  }

  ops::Matrix step(int64_t begin, int64_t end) {
    const std::span<const int32_t> tokens(tokens_.data() + begin, static_cast<size_t>(end - begin));
    const model::SequenceChunk chunk{&state_, tokens, model::LogitRows::All};
    model::ForwardResult result = model_->forward(
        {&chunk, 1}, {.keep_hidden = draft_ != nullptr, .trace = trace_ ? &*trace_ : nullptr});
    for (int64_t r = 0; r < result.logits.rows(); ++r) {
      require_finite(result.logits.row(r), begin + r);
    }
    if (draft_) draft_->step(state_, begin, result);
    checkpoint_.check_unchanged();
    return std::move(result.logits);
  }

  std::string dump_path() const {
    return options_.dump_out.empty() ? options_.out + ".dump.safetensors" : options_.dump_out;
  }

  LogitsOptions options_;
  std::vector<int32_t> tokens_;
  Checkpoint checkpoint_;
  ThreadTeam team_;
  ops::Device device_;
  std::unique_ptr<model::Model> model_;
  model::SequenceState state_;
  std::unique_ptr<model::DraftRun> draft_;
  std::optional<model::Trace> trace_;
  std::vector<float> last_logits_;  // [vocab], of the last position
  std::vector<int32_t> best_next_;  // its best tokens
};

}  // namespace

void add_logits(CLI::App& app) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command =
      app.add_subcommand("logits", "Logits of every position of a token list, for comparison");
  command
      ->add_option("-m,--model", options->model,
                   "Directory, .safetensors, .gguf, or name of the built-in model")
      ->capture_default_str();
  command->add_option("--tokens-file", options->tokens_file, "JSON list of token ids")->required();
  command
      ->add_option("-o,--out", options->out,
                   "Safetensors file to write: logits F32 [tokens, vocab]")
      ->required();
  add_compute_options(*command, options->compute);
  command->add_option("--chunk", options->chunk, "Tokens per prefill step")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command
      ->add_option("--decode-from", options->decode_from,
                   "From this position on, one token per step")
      ->check(CLI::NonNegativeNumber);
  command->add_flag(
      "--mtp", options->mtp,
      "Also run the draft head: mtp_logits (V4), drafts from --decode-from on (V4.1)");
  command->add_option("--draft", options->draft_file,
                      "GGUF with the MTP block (default: a sibling mtp*.gguf)");
  command->add_option(
      "--dump", options->dump,
      "Also write intermediates whose names match PATTERN (* and ?), e.g. 'layers.3.*'");
  command->add_option("--dump-out", options->dump_out,
                      "Where --dump goes (default: OUT.dump.safetensors)");
  command->add_flag("--stale-index-keys", options->stale_index_keys,
                    "V4.1: score the index keys the reference has at hand (docs/numerics.md)");
  command->add_flag("--json", options->json, "Summary as JSON");
  command->callback([options] {
    LogitsRun run(*options);
    run.run();
    run.report();
  });
}

}  // namespace lethe::apps
