#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/checkpoint_cost.h"
#include "apps/commands.h"
#include "apps/units.h"
#include "base/error.h"
#include "tensor/checkpoint.h"
#include "tensor/cost_model.h"

namespace lethe::apps {

namespace {

using Json = nlohmann::ordered_json;

/// Percent of V3.2's FLOPs and cache at a million tokens, as DeepSeek states them for V4.
struct Published {
  double flops;
  double cache;
};
constexpr int64_t kPublishedContext = 1048576;

/// One model of the comparison.
struct Column {
  std::string name;
  std::optional<WeightCosts> weights;  ///< not known for V3.2
  TokenMacs macs;
  CacheCost cache;
  int64_t cache_read = 0;
  int64_t max_position_embeddings = 0;
  std::optional<Published> published;
};

struct Plan {
  int64_t context = 0;
  std::vector<Column> columns;  ///< the last one is V3.2
  const Column& v32() const { return columns.back(); }
};

Column config_column(const ModelConfig& config, const WeightCosts& weights, int64_t context) {
  Column column;
  column.name = config.name;
  column.weights = weights;
  column.macs = token_macs(config, context);
  column.cache = cache_cost(config, CacheFormat::Served);
  column.cache_read = cache_bytes_read(config, context);
  column.max_position_embeddings = config.max_position_embeddings;
  return column;
}

Column preset_column(const std::string& preset, int64_t context) {
  const ModelConfig config = preset_config(preset);
  Column column = config_column(config, weight_costs(config), context);
  if (context == kPublishedContext) {
    if (preset == "v4-pro") column.published = Published{27, 10};
    if (preset == "v4-flash") column.published = Published{10, 7};
  }
  return column;
}

/// A checkpoint on disk: bytes of the encodings it really uses.
Column checkpoint_column(const std::string& path, int64_t context) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const ModelConfig& config = checkpoint.config();
  Column column = config_column(config, checkpoint_weight_costs(checkpoint), context);
  if (column.name.empty()) column.name = path;
  return column;
}

Column v32_column(int64_t context) {
  const DeepseekV32 config;
  Column column;
  column.name = "V3.2";
  column.macs = token_macs(config, context);
  column.cache = cache_cost(config, CacheFormat::Served);
  column.cache_read = cache_bytes_read(config, context);
  return column;
}

double percent_of(double value, double whole) {
  return 100 * value / whole;
}

double flops_percent(const Plan& plan, const Column& column, CountingRule rule) {
  return percent_of(flops(column.macs, rule), flops(plan.v32().macs, rule));
}

double cache_percent(const Plan& plan, const Column& column) {
  return percent_of(column.cache.total(plan.context), plan.v32().cache.total(plan.context));
}

std::string percent_text(double percent) {
  return fmt::format("{:.1f} %", percent);
}

std::string gflop_text(double flop) {
  const double giga = flop * 1e-9;
  return giga == 0 ? "-" : fmt::format("{:.{}f}", giga, giga < 0.1 ? 4 : 2);
}

/// Prints a label and one cell per model.
class Table {
 public:
  using Cell = std::function<std::string(const Column&)>;
  explicit Table(const Plan& plan) : plan_(plan) {
    size_t widest = 12;
    for (const Column& column : plan.columns) widest = std::max(widest, column.name.size() + 2);
    cell_width_ = static_cast<int>(widest);
  }
  void heading(std::string_view text) const { fmt::print("\n{}\n", text); }
  void row(std::string_view label, const Cell& cell) const {
    fmt::print("  {:<37}", label);
    for (const Column& column : plan_.columns) fmt::print("{:>{}}", cell(column), cell_width_);
    fmt::print("\n");
  }
  /// A row of figures that exist only where the weights are known.
  void weights_row(std::string_view label,
                   const std::function<std::string(const WeightCosts&)>& cell) const {
    row(label, [&cell](const Column& column) {
      return column.weights ? cell(*column.weights) : std::string("-");
    });
  }

 private:
  const Plan& plan_;
  int cell_width_ = 0;
};

void print_weights(const Table& table, const Plan& plan) {
  table.heading("Weights as stored");
  for (int i = 0; i < kNumModelParts; ++i) {
    const auto part = static_cast<size_t>(i);
    const bool present =
        std::any_of(plan.columns.begin(), plan.columns.end(), [part](const Column& column) {
          return column.weights && (*column.weights)[part].bytes > 0;
        });
    if (!present) continue;
    table.weights_row(model_part_name(static_cast<ModelPart>(i)),
                      [part](const WeightCosts& costs) { return bytes_text(costs[part].bytes); });
  }
  table.weights_row("all", [](const WeightCosts& costs) { return bytes_text(sum(costs).bytes); });
  table.weights_row("parameters", [](const WeightCosts& costs) {
    return parameters_text(sum(costs).parameters);
  });
}

void print_token(const Table& table) {
  table.heading("Read for one decoded token");
  table.weights_row("active parameters", [](const WeightCosts& costs) {
    return parameters_text(sum(costs).active_parameters);
  });
  table.weights_row("weights",
                    [](const WeightCosts& costs) { return bytes_text(sum(costs).active_bytes); });
  table.row("cache", [](const Column& column) { return bytes_text(column.cache_read); });
  table.row("weights and cache", [](const Column& column) {
    return column.weights ? bytes_text(sum(*column.weights).active_bytes + column.cache_read)
                          : std::string("-");
  });
}

void print_arithmetic(const Table& table, const Plan& plan) {
  table.heading("Arithmetic of one decoded token, GFLOP (one multiply-add is two)");
  for (int i = 0; i < kNumMacParts; ++i) {
    const auto part = static_cast<MacPart>(i);
    table.row(mac_part_name(part), [part](const Column& column) {
      return gflop_text(2 * static_cast<double>(column.macs[part]));
    });
  }
  table.row("all", [](const Column& column) {
    return gflop_text(flops(column.macs, CountingRule::EveryMac));
  });
  table.row("FP8-equivalent (1)", [](const Column& column) {
    return gflop_text(flops(column.macs, CountingRule::Fp8Equivalent));
  });
  table.row("  of V3.2's", [&plan](const Column& column) {
    return percent_text(flops_percent(plan, column, CountingRule::Fp8Equivalent));
  });
  table.row("  of V3.2's, bf16 weights twice (2)", [&plan](const Column& column) {
    return percent_text(flops_percent(plan, column, CountingRule::Fp8EquivalentBf16Parts));
  });
  table.row("  published", [](const Column& column) {
    return column.published ? fmt::format("{:.0f} %", column.published->flops) : std::string("-");
  });
}

void print_cache(const Table& table, const Plan& plan) {
  table.heading("Cache of one sequence");
  table.row("per token",
            [](const Column& column) { return fmt::format("{:.1f} B", column.cache.per_token()); });
  table.row("  of it index keys", [](const Column& column) {
    return fmt::format("{:.1f} B", column.cache.index_keys_per_token);
  });
  table.row("windows", [](const Column& column) { return bytes_text(column.cache.window); });
  table.row("unfinished groups, at most",
            [](const Column& column) { return bytes_text(column.cache.pending); });
  table.row(fmt::format("at {} tokens", plan.context),
            [&plan](const Column& column) { return bytes_text(column.cache.total(plan.context)); });
  table.row("  of V3.2's",
            [&plan](const Column& column) { return percent_text(cache_percent(plan, column)); });
  table.row("  published", [](const Column& column) {
    return column.published ? fmt::format("{:.0f} %", column.published->cache) : std::string("-");
  });
}

void print_memory(const Table& table, const Plan& plan) {
  const auto memory = [&plan](const Column& column) {
    return static_cast<double>(sum(*column.weights).bytes) + column.cache.total(plan.context) +
           static_cast<double>(column.cache.pending);
  };
  table.heading("Memory for weights and one sequence's cache");
  table.row("all", [&memory](const Column& column) {
    return column.weights ? bytes_text(memory(column)) : std::string("-");
  });
  table.row("without Engram (read by the row)", [&memory](const Column& column) {
    if (!column.weights) return std::string("-");
    const WeightCost& engram = (*column.weights)[static_cast<size_t>(ModelPart::Engram)];
    return bytes_text(memory(column) - static_cast<double>(engram.bytes));
  });
}

void print_plan(const Plan& plan) {
  const Table table(plan);
  fmt::print("At a context of {} tokens\n\n", plan.context);
  table.row("", [](const Column& column) { return column.name; });
  print_weights(table, plan);
  print_token(table);
  print_arithmetic(table, plan);
  print_cache(table, plan);
  print_memory(table, plan);
  fmt::print(
      "\n(1) fp8 counts 1, the bf16 attention core 2, fp4 index scores 0.5.\n"
      "(2) The same, and weights multiplied in bf16 or f32 (wo_a, compressors, router, head) 2.\n");
  for (const Column& column : plan.columns) {
    if (column.max_position_embeddings > 0 && plan.context > column.max_position_embeddings) {
      fmt::print("Note: {} is made for at most {} tokens.\n", column.name,
                 column.max_position_embeddings);
    }
  }
}

Json weights_json(const WeightCosts& costs) {
  const auto one = [](const WeightCost& cost) {
    return Json{{"parameters", cost.parameters},
                {"bytes", cost.bytes},
                {"active_parameters", cost.active_parameters},
                {"active_bytes", cost.active_bytes}};
  };
  Json json = one(sum(costs));
  for (int i = 0; i < kNumModelParts; ++i) {
    const WeightCost& cost = costs[static_cast<size_t>(i)];
    if (cost.bytes == 0) continue;
    json["by_part"][std::string(model_part_name(static_cast<ModelPart>(i)))] = one(cost);
  }
  return json;
}

Json column_json(const Plan& plan, const Column& column) {
  Json json;
  json["name"] = column.name;
  if (column.weights) json["weights"] = weights_json(*column.weights);
  json["cache_bytes_read_per_token"] = column.cache_read;
  Json& macs = json["macs"];
  for (int i = 0; i < kNumMacParts; ++i) {
    const auto part = static_cast<MacPart>(i);
    macs["by_part"][std::string(mac_part_name(part))] = column.macs[part];
  }
  macs["active_weights"] = column.macs.active_weights();
  macs["all"] = column.macs.total();
  const auto flops_json = [&plan, &column](CountingRule rule) {
    return Json{{"flops", flops(column.macs, rule)},
                {"percent_of_v3.2", flops_percent(plan, column, rule)}};
  };
  json["flops"] = {{"every_mac", flops_json(CountingRule::EveryMac)},
                   {"fp8_equivalent", flops_json(CountingRule::Fp8Equivalent)},
                   {"fp8_equivalent_bf16_parts", flops_json(CountingRule::Fp8EquivalentBf16Parts)},
                   {"fp4_as_fp8", flops_json(CountingRule::Fp4AsFp8)}};
  json["cache"] = {{"bytes_per_token", column.cache.per_token()},
                   {"index_key_bytes_per_token", column.cache.index_keys_per_token},
                   {"window_bytes", column.cache.window},
                   {"pending_bytes_max", column.cache.pending},
                   {"bytes_at_context", column.cache.total(plan.context)},
                   {"percent_of_v3.2", cache_percent(plan, column)}};
  if (column.published) {
    json["published"] = {{"flops_percent_of_v3.2", column.published->flops},
                         {"cache_percent_of_v3.2", column.published->cache}};
  }
  return json;
}

void print_json(const Plan& plan) {
  Json json;
  json["context"] = plan.context;
  for (const Column& column : plan.columns) json["models"].push_back(column_json(plan, column));
  fmt::print("{}\n", json.dump(2));
}

struct Options {
  std::vector<std::string> models;
  std::vector<std::string> presets;
  int64_t context = kPublishedContext;
  bool json = false;
};

void run(const Options& options) {
  constexpr int64_t kMaxContext = int64_t{1} << 32;
  if (options.context < 1 || options.context > kMaxContext) {
    throw UsageError("--context {}: expected a number of tokens from 1 to {}.", options.context,
                     kMaxContext);
  }
  std::vector<std::string> presets = options.presets;
  if (options.models.empty() && presets.empty()) presets = {"v4-pro", "v4-flash", "v4.1-flash"};
  Plan plan;
  plan.context = options.context;
  for (const std::string& path : options.models) {
    plan.columns.push_back(checkpoint_column(path, plan.context));
  }
  for (const std::string& preset : presets) {
    plan.columns.push_back(preset_column(preset, plan.context));
  }
  plan.columns.push_back(v32_column(plan.context));
  if (options.json) {
    print_json(plan);
  } else {
    print_plan(plan);
  }
}

}  // namespace

void add_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("plan", "Memory, bytes and FLOPs per token, before you download");
  command->add_option("model", options->models, "Checkpoints on disk (directory or .gguf)");
  command->add_option("--preset", options->presets,
                      fmt::format("A published model: {}", fmt::join(preset_names(), ", ")));
  command->add_option("--context", options->context, "Tokens of context")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace lethe::apps
