#include "ops/experts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "ops/product.h"
#include "quant/activation.h"

namespace lethe::ops {

namespace {

float silu(float x) {
  return x / (1.0f + std::exp(-x));
}

/// a = scale * silu(min(a, limit)) * clamp(b, -limit, limit), one rounding point. `fast` has its
/// own e^x.
void swiglu(const Device& device, std::span<float> a, std::span<const float> b, float limit,
            float scale) {
  if (device.numerics() == Numerics::Fast) {
    device.kernels().swiglu(a.data(), b.data(), std::ssize(a), limit, scale);
    return;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    const float gate = limit > 0 ? std::min(a[i], limit) : a[i];
    const float up = limit > 0 ? std::clamp(b[i], -limit, limit) : b[i];
    a[i] = silu(gate) * up * scale;
  }
  device.store_bf16(a);
}

/// Where the reference stores a product in bf16.
void store(const Device& device, const Linear& w, std::span<float> y) {
  if (w.role == LinearRole::Fp8 || w.role == LinearRole::Bf16) device.store_bf16(y);
}

bool rounds_input(const Device& device, const Linear& w) {
  return device.official() && w.role == LinearRole::Fp8;
}

void round_rows(const Device& device, const Linear& w, Matrix& x) {
  device.for_rows(x.rows(), [&](int64_t t) {
    quant::fake_quantize_fp8(x.row(t).data(), x.cols(), w.activation_group);
  });
}

/// A token that an expert sees, with its routing weight.
struct Visit {
  int64_t token;
  float weight;
};

/// One expert's share of the work.
struct Group {
  const ExpertWeights* weights = nullptr;
  float limit = 0;
  RecycledVector<Visit> visits;
  int64_t first = 0;       ///< row of its first visit in the matrix of hidden values
  int64_t first_tile = 0;  ///< of its visits

  int64_t count() const { return static_cast<int64_t>(visits.size()); }
};

/// A format of activations and a form of their tiles.
constexpr size_t kForms = 3;
constexpr size_t kKinds = 3 * kForms;
size_t kind_of(const Device& device, const Linear& w) {
  return static_cast<size_t>(input_format(device, w)) * kForms +
         static_cast<size_t>(tile_form(device, w));
}

/// The activations that the groups' products read: of each kind, a format and a form of tiles, that
/// there is among the experts. Buffers serve one layer after the other.
class GroupInputs {
 public:
  /// x: rows of tokens, or (`by_visit`) of visits as Group numbers them; `row_of(group, i)` is that
  /// of a group's visit i; `weight` is the one that group's products are of.
  template <typename RowOf, typename WeightOf>
  void prepare(const Device& device, const Matrix& x, std::span<const Group> groups, bool by_visit,
               RowOf row_of, WeightOf weight) {
    const auto kind = [&](const Group& g) { return kind_of(device, weight(g)); };
    std::array<bool, kKinds> used{};
    int64_t tiles = 0;
    for (const Group& g : groups) {
      used[kind(g)] = true;
      tiles = std::max(tiles, g.first_tile + tiles_for(g.count()));
    }
    for (size_t k = 0; k < kKinds; ++k) {
      if (!used[k]) continue;
      batches_[k].reset(static_cast<kernels::ActivationFormat>(k / kForms), x.values().data(),
                        x.rows(), x.cols(), x.cols());
      if (!by_visit) fill(device, batches_[k], 0, x.rows());
      tiles_[k].reset(static_cast<kernels::TileForm>(k % kForms), tiles, x.cols());
    }
    // Visits of tiles go there as they are, where that can be.
    const auto in_tiles = [&](const Group& g) {
      return by_visit && takes_tiles(device, weight(g), g.count()) &&
             tile_form(device, weight(g)) != kernels::TileForm::F32;
    };
    for (const Group& g : groups) {
      if (!by_visit || in_tiles(g)) continue;
      fill(device, batches_[kind(g)], g.first, g.first + g.count());
    }
    tokens_.clear();
    starts_.clear();
    std::array<bool, kKinds> tiled{};
    for (const Group& g : groups) {
      const size_t k = kind(g);
      starts_.push_back(tokens_.size());
      for (int64_t i = 0; i < g.count(); ++i) {
        const int64_t row = row_of(g, i);
        tokens_.push_back(in_tiles(g) ? kernels::Activation{.f32 = x.row(row).data()}
                                      : batches_[k][row]);
      }
      if (!takes_tiles(device, weight(g), g.count())) continue;
      tiled[k] = true;
      for (int64_t i = 0; i < g.count(); ++i) {
        tiles_[k].add(g.first_tile + i / kernels::kTileTokens,
                      tokens_[starts_.back() + static_cast<size_t>(i)]);
      }
    }
    for (size_t k = 0; k < kKinds; ++k) {
      if (tiled[k]) fill(device, tiles_[k], x.cols());
    }
  }

  Product product(const Device& device, const Linear& w, const Group& group, size_t index) const {
    const auto count = static_cast<size_t>(group.count());
    const kernels::ActivationTiles& tiles = tiles_[kind_of(device, w)];
    return {.device = device,
            .w = w,
            .tokens = std::span(tokens_).subspan(starts_[index], count),
            .tiles = takes_tiles(device, w, group.count()) ? &tiles : nullptr,
            .first_tile = group.first_tile};
  }

 private:
  std::array<kernels::ActivationBatch, kKinds> batches_;
  std::array<kernels::ActivationTiles, kKinds> tiles_;
  std::vector<kernels::Activation> tokens_;  // by group
  std::vector<size_t> starts_;               // of groups in it
};

struct Workspace {
  GroupInputs gate;
  GroupInputs up;  // only where w3 reads another format than w1
  GroupInputs hidden;
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

/// A matrix of a thread's own, whose values are whatever they were.
std::span<float> thread_values(size_t size) {
  thread_local std::vector<float> values;
  if (values.size() < size) values.resize(size);
  return std::span(values).first(size);
}

/// Rows [begin, end) of a group's hidden values: silu(w1 x) * (w3 x), for all its visits.
void hidden_rows(const Device& device, const Product& gate, const Product& up, const Group& group,
                 int64_t begin, int64_t end, Matrix& hidden) {
  const auto width = static_cast<size_t>(end - begin);
  const std::span<float> ups = thread_values(group.visits.size() * width);
  gate.rows(begin, end, hidden.row(group.first).data() + begin, hidden.cols(), {&up.w, begin, end});
  up.rows(begin, end, ups.data(), end - begin, next_piece(device, gate.w, begin, end));
  for (size_t i = 0; i < group.visits.size(); ++i) {
    const std::span<float> a = hidden.row(group.first + static_cast<int64_t>(i))
                                   .subspan(static_cast<size_t>(begin), width);
    const std::span<float> b = ups.subspan(i * width, width);
    store(device, gate.w, a);
    store(device, up.w, b);
    swiglu(device, a, b, group.limit, group.visits[i].weight);
  }
}

/// Adds rows [begin, end) of the groups' outputs, one group after the other, to their tokens'.
void add_output_rows(const Device& device, const GroupInputs& hidden, std::span<const Group> groups,
                     int64_t begin, int64_t end, Matrix& out) {
  const auto width = static_cast<size_t>(end - begin);
  for (size_t index = 0; index < groups.size(); ++index) {
    const Group& group = groups[index];
    const Product down = hidden.product(device, group.weights->w2, group, index);
    const std::span<float> y = thread_values(group.visits.size() * width);
    const NextRows next = index + 1 < groups.size()
                              ? NextRows{&groups[index + 1].weights->w2, begin, end}
                              : next_piece(device, groups[0].weights->w2, begin, end);
    down.rows(begin, end, y.data(), end - begin, next);
    store(device, down.w, y);
    for (size_t i = 0; i < group.visits.size(); ++i) {
      float* sum = out.row(group.visits[i].token).data() + begin;
      for (size_t d = 0; d < width; ++d) sum[d] += y[i * width + d];
    }
  }
}

/// Adds a group, in parts of at most kTokensTogether visits.
void add_group(const ExpertWeights& weights, float limit, std::span<const Visit> visits,
               RecycledVector<Group>& groups) {
  for (size_t begin = 0; begin < visits.size(); begin += kTokensTogether) {
    const std::span<const Visit> some =
        visits.subspan(begin, std::min<size_t>(kTokensTogether, visits.size() - begin));
    groups.push_back({.weights = &weights, .limit = limit, .visits = {some.begin(), some.end()}});
  }
}

/// All groups: out[token] += their outputs, in the order of the groups.
void run_groups(const Device& device, const Matrix& x, RecycledVector<Group> groups, Matrix& out) {
  if (groups.empty()) return;
  int64_t visits = 0;
  int64_t tiles = 0;
  for (Group& g : groups) {
    g.first = visits;
    g.first_tile = tiles;
    visits += g.count();
    tiles += tiles_for(g.count());
  }
  const ExpertWeights& any = *groups.front().weights;
  bool alike = true;  // w1 and w3 read the same
  for (const Group& g : groups) {
    LETHE_CHECK(g.weights->w1.out_features() == any.w1.out_features() &&
                g.weights->w2.out_features() == out.cols());
    LETHE_CHECK(rounds_input(device, g.weights->w1) == rounds_input(device, any.w1) &&
                rounds_input(device, g.weights->w3) == rounds_input(device, any.w1));
    alike = alike && kind_of(device, g.weights->w1) == kind_of(device, g.weights->w3) &&
            takes_tiles(device, g.weights->w1, g.count()) ==
                takes_tiles(device, g.weights->w3, g.count());
  }
  auto& inputs = workspace();

  std::optional<Matrix> rounded;
  if (rounds_input(device, any.w1)) {
    rounded = x;
    round_rows(device, any.w1, *rounded);
  }
  const Matrix& seen = rounded ? *rounded : x;
  const auto token_of = [](const Group& g, int64_t i) {
    return g.visits[static_cast<size_t>(i)].token;
  };
  inputs.gate.prepare(device, seen, groups, /*by_visit=*/false, token_of,
                      [](const Group& g) -> const Linear& { return g.weights->w1; });
  if (!alike) {
    inputs.up.prepare(device, seen, groups, /*by_visit=*/false, token_of,
                      [](const Group& g) -> const Linear& { return g.weights->w3; });
  }
  const GroupInputs& up_inputs = alike ? inputs.gate : inputs.up;

  // A piece is some rows of a group's w1 and the same of its w3.
  const int64_t width = any.w1.out_features();
  Matrix hidden = Matrix::unset(visits, width);
  const auto largest = std::max_element(
      groups.begin(), groups.end(),
      [](const Group& a, const Group& b) { return a.visits.size() < b.visits.size(); });
  const int64_t piece = rows_per_piece(device, any.w1, width, 2 * x.cols(), largest->count());
  const int64_t pieces = (width + piece - 1) / piece;
  device.team().parallel_for(
      static_cast<int64_t>(groups.size()) * pieces, 1, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const auto index = static_cast<size_t>(i / pieces);
          const Group& g = groups[index];
          const int64_t begin = i % pieces * piece;
          hidden_rows(device, inputs.gate.product(device, g.weights->w1, g, index),
                      up_inputs.product(device, g.weights->w3, g, index), g, begin,
                      std::min(begin + piece, width), hidden);
        }
      });

  if (rounds_input(device, any.w2)) round_rows(device, any.w2, hidden);
  inputs.hidden.prepare(
      device, hidden, groups, /*by_visit=*/true,
      [](const Group& g, int64_t i) { return g.first + i; },
      [](const Group& g) -> const Linear& { return g.weights->w2; });
  // A piece adds the groups' outputs in their order: who computes it does not matter.
  const int64_t out_piece = rows_per_piece(device, any.w2, out.cols(), width, visits);
  device.team().parallel_for((out.cols() + out_piece - 1) / out_piece, 1,
                             [&](int64_t first, int64_t last) {
                               for (int64_t i = first; i < last; ++i) {
                                 const int64_t begin = i * out_piece;
                                 add_output_rows(device, inputs.hidden, groups, begin,
                                                 std::min(begin + out_piece, out.cols()), out);
                               }
                             });
}

}  // namespace

Matrix expert(const Device& device, const Matrix& x, const ExpertWeights& weights, float limit,
              std::span<const float> scales) {
  RecycledVector<Visit> visits;
  for (int64_t t = 0; t < x.rows(); ++t) {
    visits.push_back({t, scales.empty() ? 1.0f : scales[static_cast<size_t>(t)]});
  }
  RecycledVector<Group> groups;
  add_group(weights, limit, visits, groups);
  Matrix y(x.rows(), weights.w2.out_features());
  run_groups(device, x, std::move(groups), y);
  return y;
}

void moe_experts(const Device& device, const Matrix& x, const Routes& routes,
                 const ExpertLayer& layer, Matrix& out) {
  RecycledVector<RecycledVector<Visit>> by_expert(layer.routed.size());
  for (int64_t t = 0; t < x.rows(); ++t) {
    const std::span<const int32_t> chosen = routes.experts.row(t);
    for (size_t i = 0; i < chosen.size(); ++i) {
      by_expert.at(static_cast<size_t>(chosen[i])).push_back({t, routes.weights.row(t)[i]});
    }
  }
  RecycledVector<Group> groups;
  for (size_t e = 0; e < by_expert.size(); ++e) {
    if (!layer.routed[e].w1.weight.present()) continue;
    add_group(layer.routed[e], layer.limit, by_expert[e], groups);
  }
  if (layer.shared != nullptr && x.rows() > 0) {
    RecycledVector<Visit> all;
    for (int64_t t = 0; t < x.rows(); ++t) all.push_back({t, 1.0f});
    const bool alike = groups.empty() ||
                       layer.shared->w1.out_features() == groups.front().weights->w1.out_features();
    if (!alike) run_groups(device, x, std::exchange(groups, {}), out);
    add_group(*layer.shared, layer.shared_limit, all, groups);
  }
  run_groups(device, x, std::move(groups), out);
}

}  // namespace lethe::ops
