#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/builtin_model.h"
#include "apps/checkpoint_cost.h"
#include "apps/commands.h"
#include "apps/compute_options.h"
#include "apps/disk_probe.h"
#include "apps/expert_cache_text.h"
#include "apps/machine_probe.h"
#include "apps/model_bench.h"
#include "base/error.h"
#include "base/json_py.h"
#include "base/progress.h"
#include "engine/engine_options.h"

namespace lethe::apps {
namespace {

struct BenchOptions {
  std::string model{kDefaultModel};
  std::string draft_file;
  ComputeOptions compute;
  std::vector<int64_t> depths = {1024};
  std::vector<int64_t> prefill = {512};
  int64_t decode = 16;
  int64_t chunk = 0;  ///< 0: engine::default_prefill_chunk()
  int repeats = 3;
  bool json = false;
  bool csv = false;
  bool profile = false;
};

Json probe_json(const MachineLimits& limits, int threads, std::optional<double> disk_gb_s) {
  Json json = {{"kind", "probe"},
               {"threads", threads},
               {"read_gb_s", limits.read_gb_s},
               {"int8_gop_s", limits.int8_gop_s},
               {"bf16_gflop_s", limits.bf16_gflop_s}};
  if (disk_gb_s) json["disk_gb_s"] = *disk_gb_s;
  return json;
}

Json expert_cache_json(const BenchRow& row) {
  const model::ExpertCache::Stats& stats = *row.expert_cache;
  return {{"slots", stats.slots},
          {"experts", stats.experts},
          {"slot_bytes", stats.slot_bytes},
          {"hits", stats.hits},
          {"misses", stats.misses},
          {"prefetched", stats.prefetched},
          {"in_memory_share", stats.in_memory_share()},
          {"bytes_read", stats.bytes_read},
          {"seconds", row.seconds},
          {"read_s", stats.read_s},
          {"wait_s", stats.wait_s},
          {"read_gb_s", stats.read_gb_s()}};
}

/// Parts that took no time are left out.
Json parts_json(const BenchRow& row) {
  Json parts = Json::array();
  for (int i = 0; i < ops::kNumParts; ++i) {
    const ops::Profile::Cost& cost = row.parts[static_cast<size_t>(i)];
    if (cost.seconds <= 0) continue;
    parts.push_back({{"part", ops::part_name(static_cast<ops::Part>(i))},
                     {"ms", 1e3 * cost.seconds},
                     {"bytes", cost.bytes},
                     {"share_of_step", cost.seconds / row.step_seconds()}});
  }
  return parts;
}

Json row_json(const BenchRow& row, int threads) {
  Json json = {{"kind", kind_name(row.kind)},
               {"depth", row.depth},
               {"tokens", row.tokens},
               {"threads", threads},
               {"tokens_per_s", row.tokens_per_s},
               {"lowest_tokens_per_s", row.lowest},
               {"highest_tokens_per_s", row.highest},
               {"limit_tokens_per_s", row.limit_tokens_per_s},
               {"share", row.share()},
               {"bytes_per_token", row.bytes_per_token},
               {"operations_per_token", row.operations_per_token}};
  if (row.step_seconds() > 0) json["parts"] = parts_json(row);
  if (row.expert_cache) json["expert_cache"] = expert_cache_json(row);
  return json;
}

void print_table(const MachineLimits& limits, const std::vector<BenchRow>& rows, int threads,
                 std::string_view isa) {
  fmt::print(
      "{} threads, {} kernels: memory {:.1f} GB/s, int8 {:.0f} Gop/s, bf16 {:.0f} Gflop/s\n\n",
      threads, isa, limits.read_gb_s, limits.int8_gop_s, limits.bf16_gflop_s);
  fmt::print("{:8} {:>9} {:>7} {:>10} {:>21} {:>10} {:>7}\n", "", "depth", "tokens", "tokens/s",
             "lowest to highest", "limit", "share");
  for (const BenchRow& row : rows) {
    fmt::print("{:8} {:>9} {:>7} {:>10.2f} {:>21} {:>10.2f} {:>6.1f}%\n", kind_name(row.kind),
               row.depth, row.tokens, row.tokens_per_s,
               fmt::format("{:.2f} to {:.2f}", row.lowest, row.highest), row.limit_tokens_per_s,
               100 * row.share());
    if (row.expert_cache) fmt::print("{:9}{}\n", "", expert_cache_text(*row.expert_cache));
  }
}

void print_parts(const std::vector<BenchRow>& rows) {
  for (const BenchRow& row : rows) {
    fmt::print("\n{} at depth {}, one {}\n", kind_name(row.kind), row.depth,
               row.kind == BenchRow::Kind::decode ? "token" : "chunk");
    fmt::print("  {:18} {:>10} {:>7} {:>10} {:>8}\n", "", "ms", "share", "MB", "GB/s");
    for (int i = 0; i < ops::kNumParts; ++i) {
      const ops::Profile::Cost& cost = row.parts[static_cast<size_t>(i)];
      if (cost.seconds <= 0) continue;
      fmt::print("  {:18} {:>10.3f} {:>6.1f}% {:>10.2f} {:>8.1f}\n",
                 ops::part_name(static_cast<ops::Part>(i)), 1e3 * cost.seconds,
                 100 * cost.seconds / row.step_seconds(), cost.bytes / 1e6,
                 cost.bytes / cost.seconds / 1e9);
    }
  }
}

/// The parts as further columns: milliseconds of a step.
std::string csv_parts_header() {
  std::string header;
  for (int i = 0; i < ops::kNumParts; ++i) {
    std::string name(ops::part_name(static_cast<ops::Part>(i)));
    std::replace(name.begin(), name.end(), ' ', '_');
    header += ",ms_" + name;
  }
  return header;
}
std::string csv_parts(const BenchRow& row) {
  std::string columns;
  for (const ops::Profile::Cost& cost : row.parts) {
    columns += fmt::format(",{:.4f}", 1e3 * cost.seconds);
  }
  return columns;
}

void print_csv(const MachineLimits& limits, const std::vector<BenchRow>& rows, int threads,
               bool profile) {
  fmt::print(
      "kind,depth,tokens,threads,tokens_per_s,lowest,highest,limit_tokens_per_s,share,read_gb_s,"
      "int8_gop_s,bf16_gflop_s{}\n",
      profile ? csv_parts_header() : "");
  for (const BenchRow& row : rows) {
    fmt::print("{},{},{},{},{:.4f},{:.4f},{:.4f},{:.4f},{:.4f},{:.2f},{:.1f},{:.1f}{}\n",
               kind_name(row.kind), row.depth, row.tokens, threads, row.tokens_per_s, row.lowest,
               row.highest, row.limit_tokens_per_s, row.share(), limits.read_gb_s,
               limits.int8_gop_s, limits.bf16_gflop_s, profile ? csv_parts(row) : "");
  }
}

/// Memory of the states: the one at a depth, and its fork that goes on from there.
int64_t most_state_bytes(const BenchOptions& options, const ModelConfig& config) {
  int64_t tokens = options.decode;
  for (const int64_t prefill : options.prefill) tokens = std::max(tokens, prefill);
  return 2 * state_bytes(config, std::ranges::max(options.depths) + tokens);
}

void run(const BenchOptions& options) {
  if (options.json && options.csv) throw UsageError("bench: --json or --csv, not both");
  Checkpoint checkpoint =
      Checkpoint::open(model_path(options.model), {.draft_file = options.draft_file});
  ThreadTeam team(options.compute.threads, pinning(options.compute));
  ops::Profile profile;
  ops::Device device = make_device(team, options.compute);
  MachineProbe probe(team, device.kernels());
  if (options.profile) device.set_profile(&profile);
  model::ModelOptions with = model_options(options.compute);
  const auto placed = model::place_weights(
      checkpoint, team,
      weight_options(options.compute, most_state_bytes(options, checkpoint.config())));
  with.expert_cache_bytes = placed.expert_cache_bytes;
  device.set_replicas(placed.replicas);
  const auto model = model::load_model(checkpoint, device, with);
  std::optional<double> disk_gb_s;
  if (model->expert_cache()) disk_gb_s = probe_disk_gb_s(checkpoint.files());
  const int64_t chunk =
      options.chunk > 0 ? options.chunk : engine::default_prefill_chunk(checkpoint.config());
  ModelBench bench(checkpoint, *model, probe, device.profile());
  const auto jobs = static_cast<int64_t>(options.depths.size()) *
                    ((options.decode > 0 ? 1 : 0) + static_cast<int64_t>(options.prefill.size()));
  Progress progress("bench", jobs * options.repeats, "runs");
  bench.on_repeat = [&](const BenchRow&, int) { progress.advance(1); };
  std::vector<BenchRow> rows;
  for (const int64_t depth : options.depths) {
    if (options.decode > 0) rows.push_back(bench.decode(depth, options.decode, options.repeats));
    for (const int64_t tokens : options.prefill) {
      rows.push_back(bench.prefill(depth, tokens, chunk, options.repeats));
    }
  }
  const MachineLimits limits = bench.limits();
  if (options.json) {
    Json out = Json::array({probe_json(limits, team.size(), disk_gb_s)});
    for (const BenchRow& row : rows) out.push_back(row_json(row, team.size()));
    fmt::print("{}\n", out.dump(1));
  } else if (options.csv) {
    print_csv(limits, rows, team.size(), options.profile);
  } else {
    print_table(limits, rows, team.size(), device.kernels().name);
    if (options.profile) print_parts(rows);
    if (disk_gb_s) {
      fmt::print("\n{}\nThe disk gave {:.2f} GB/s by itself.\n",
                 expert_cache_notice(*model->expert_cache()), *disk_gb_s);
    }
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      app.add_subcommand("bench", "Speed at given depths, against the machine's limits");
  command
      ->add_option("-m,--model", options->model,
                   "Directory, .safetensors, .gguf, or name of the built-in model")
      ->capture_default_str();
  command->add_option("--draft", options->draft_file,
                      "GGUF with the MTP block (default: a sibling mtp*.gguf)");
  command->add_option("--depth", options->depths, "Tokens in the cache before; a list: 0,4096")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--prefill", options->prefill, "Tokens to take in at once; a list; none: 0")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--decode", options->decode, "Tokens to take in one by one; none: 0")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--chunk", options->chunk,
                   "Tokens per prefill step (default: as run and serve choose it)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_option("--repeat", options->repeats, "Times each is measured; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", options->json, "An array of objects, the probe first");
  command->add_flag("--csv", options->csv, "A table for a spreadsheet");
  command->add_flag(
      "--profile", options->profile,
      "Also the time and bytes of each part of a step: of a token when decoding, of a "
      "chunk when prefilling");
  add_compute_options(*command, options->compute);
  command->callback([options] {
    std::erase(options->prefill, 0);
    run(*options);
  });
}

}  // namespace lethe::apps
