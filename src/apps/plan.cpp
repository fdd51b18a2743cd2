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
#include "apps/machine_plan.h"
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
  std::optional<model::MemoryNeeds> needs;  ///< where the weights are known
  std::optional<MachinePlan> on_machine;
};

struct Plan {
  int64_t context = 0;
  MachineFacts machine;
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
  column.needs = model::memory_needs(config);
  if (context == kPublishedContext) {
    if (preset == "v4-pro") column.published = Published{27, 10};
    if (preset == "v4-flash") column.published = Published{10, 7};
  }
  return column;
}

/// A checkpoint on disk: bytes of the encodings it really uses.
Column checkpoint_column(const Checkpoint& checkpoint, int64_t context) {
  const ModelConfig& config = checkpoint.config();
  Column column = config_column(config, checkpoint_weight_costs(checkpoint), context);
  column.needs = model::memory_needs(checkpoint);
  if (column.name.empty()) column.name = checkpoint.path();
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

void plan_column_on_machine(const MachineFacts& machine, Column& column, int64_t context) {
  if (!column.weights || !column.needs) return;
  const auto experts = static_cast<size_t>(ModelPart::RoutedExperts);
  const auto state = static_cast<int64_t>(column.cache.total(context)) + column.cache.pending;
  column.on_machine =
      plan_on_machine(machine, *column.needs, state,
                      {.active_bytes = sum(*column.weights).active_bytes,
                       .active_expert_bytes = (*column.weights)[experts].active_bytes,
                       .cache_read_bytes = column.cache_read});
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

std::string fit_text(const model::MemoryPlan& memory) {
  if (memory.fits) return "yes";
  return memory.possible ? "in part" : "no";
}

void print_machine(const Table& table, const Plan& plan) {
  const MachineFacts& machine = plan.machine;
  const auto speed = [](std::optional<double> gb_s) {
    return gb_s ? fmt::format("{:.2f} GB/s", *gb_s) : std::string("not measured");
  };
  table.heading(fmt::format("On this machine: {} of memory ({}), disk {}",
                            bytes_text(machine.memory_bytes), speed(machine.read_gb_s),
                            speed(machine.disk_gb_s)));
  const auto row = [&table](std::string_view label,
                            const std::function<std::string(const MachinePlan&)>& cell) {
    table.row(label, [&cell](const Column& column) {
      return column.on_machine ? cell(*column.on_machine) : std::string("-");
    });
  };
  row("weights fit, beside one sequence",
      [](const MachinePlan& it) { return fit_text(it.memory); });
  row("memory that it takes at least",
      [](const MachinePlan& it) { return bytes_text(it.memory.least_memory_bytes()); });
  row("expert cache", [](const MachinePlan& it) {
    const bool cached = it.memory.possible && !it.memory.fits;
    return cached ? bytes_text(it.memory.cache_bytes) : std::string("-");
  });
  row("  experts that it holds", [](const MachinePlan& it) {
    return it.memory.possible ? percent_text(100 * it.memory.resident_share()) : std::string("-");
  });
  row("read from disk for a token (3)", [](const MachinePlan& it) {
    return it.memory.possible ? bytes_text(it.disk_bytes_per_token) : std::string("-");
  });
  row("decoded tokens/s, at most (3)", [](const MachinePlan& it) {
    return it.decode_tokens_per_s ? fmt::format("{:.2f}", *it.decode_tokens_per_s)
                                  : std::string("-");
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
  print_machine(table, plan);
  fmt::print(
      "\n(1) fp8 counts 1, the bf16 attention core 2, fp4 index scores 0.5.\n"
      "(2) The same, and weights multiplied in bf16 or f32 (wo_a, compressors, router, head) 2.\n"
      "(3) If the router picks every expert equally often, so that those in memory serve as large "
      "a\n"
      "    share of the uses as they are of all; memory and disk at full speed, one after the "
      "other.\n");
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

Json machine_plan_json(const MachinePlan& it) {
  const model::MemoryPlan& memory = it.memory;
  Json json{{"fits", memory.fits},
            {"possible", memory.possible},
            {"dense_bytes", memory.needs.dense_bytes},
            {"lookup_bytes", memory.needs.lookup_bytes},
            {"expert_bytes", memory.needs.expert_bytes},
            {"experts", memory.needs.num_experts},
            {"state_bytes", memory.state_bytes},
            {"margin_bytes", memory.margin_bytes},
            {"least_memory_bytes", memory.least_memory_bytes()},
            {"expert_cache_bytes", memory.possible && !memory.fits ? memory.cache_bytes : 0},
            {"resident_experts_share", memory.resident_share()},
            {"memory_bytes_per_token", it.memory_bytes_per_token},
            {"disk_bytes_per_token", it.disk_bytes_per_token}};
  if (it.decode_tokens_per_s) json["decode_tokens_per_s"] = *it.decode_tokens_per_s;
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
  if (column.on_machine) json["on_this_machine"] = machine_plan_json(*column.on_machine);
  if (column.published) {
    json["published"] = {{"flops_percent_of_v3.2", column.published->flops},
                         {"cache_percent_of_v3.2", column.published->cache}};
  }
  return json;
}

void print_json(const Plan& plan) {
  Json json;
  json["context"] = plan.context;
  json["machine"]["memory_bytes"] = plan.machine.memory_bytes;
  if (plan.machine.read_gb_s) json["machine"]["read_gb_s"] = *plan.machine.read_gb_s;
  if (plan.machine.disk_gb_s) json["machine"]["disk_gb_s"] = *plan.machine.disk_gb_s;
  for (const Column& column : plan.columns) json["models"].push_back(column_json(plan, column));
  fmt::print("{}\n", json.dump(2));
}

struct PlanOptions {
  std::vector<std::string> models;
  std::vector<std::string> presets;
  int64_t context = kPublishedContext;
  bool json = false;
  MachineProbeOptions machine;
  bool no_measure = false;
};

void print_plans(const PlanOptions& options) {
  constexpr int64_t kMaxContext = int64_t{1} << 32;
  if (options.context < 1 || options.context > kMaxContext) {
    throw UsageError("--context {}: expected a number of tokens from 1 to {}.", options.context,
                     kMaxContext);
  }
  std::vector<std::string> presets = options.presets;
  if (options.models.empty() && presets.empty()) presets = {"v4-pro", "v4-flash", "v4.1-flash"};
  Plan plan;
  plan.context = options.context;
  std::vector<Checkpoint> checkpoints;
  for (const std::string& path : options.models) {
    checkpoints.push_back(Checkpoint::open(path));
    plan.columns.push_back(checkpoint_column(checkpoints.back(), plan.context));
  }
  for (const std::string& preset : presets) {
    plan.columns.push_back(preset_column(preset, plan.context));
  }
  plan.columns.push_back(v32_column(plan.context));
  MachineProbeOptions machine = options.machine;
  machine.measure = !options.no_measure;
  plan.machine = probe_machine_facts(machine, checkpoints.empty() ? nullptr : &checkpoints.front());
  for (Column& column : plan.columns) plan_column_on_machine(plan.machine, column, plan.context);
  if (options.json) {
    print_json(plan);
  } else {
    print_plan(plan);
  }
}

}  // namespace

void add_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command =
      app.add_subcommand("plan", "Memory, bytes and FLOPs per token, before you download");
  command->add_option("model", options->models, "Checkpoints on disk (directory or .gguf)");
  command->add_option("--preset", options->presets,
                      fmt::format("A published model: {}", fmt::join(preset_names(), ", ")));
  command->add_option("--context", options->context, "Tokens of context")->capture_default_str();
  command
      ->add_option("--memory-size", options->machine.memory_bytes,
                   "Suppose so much memory, e.g. 64GB (default: what there is now)")
      ->transform(CLI::AsSizeValue(true));
  command
      ->add_option("--disk-speed", options->machine.disk_gb_s,
                   "Suppose a disk that gives so many GB/s (default: measured on the first MODEL)")
      ->check(CLI::PositiveNumber);
  command->add_flag("--no-measure", options->no_measure,
                    "Do not measure this machine: no forecast");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { print_plans(*options); });
}

}  // namespace lethe::apps
