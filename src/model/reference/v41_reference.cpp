#include "model/reference/v41_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "quant/weight.h"
#include "tensor/integers.h"

namespace lethe::model::reference {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

std::string layer_name(int64_t layer) {
  return "layers." + std::to_string(layer) + ".";
}

/// A tensor by its official name. Those that only image prompts use (gate.bias_vl) are not among
/// what a Checkpoint finds, since the decoder takes text alone.
StoredWeight stored_weight(const Checkpoint& checkpoint, const std::string& name) {
  if (const auto found = checkpoint.find(name)) return *found;
  for (const TensorView& raw : checkpoint.raw_tensors()) {
    if (raw.name == name) return {.tensor = raw, .scale = {}, .kind = StorageKind::F32};
  }
  return checkpoint.get(name);
}

int64_t to_index(size_t i) {
  return static_cast<int64_t>(i);
}

/// Compressed rows that the query at `position` may see, the one it completes included.
int64_t visible_rows(int64_t position, int64_t ratio) {
  return (position + 1) / ratio;
}

double limit_of(const std::vector<double>& limits, int64_t layer) {
  if (limits.empty()) return 0;
  return limits[std::min(static_cast<size_t>(layer), limits.size() - 1)];
}

}  // namespace

V41Reference::V41Reference(const Checkpoint& checkpoint, std::vector<int32_t> token_map)
    : checkpoint_(checkpoint),
      config_(checkpoint.config()),
      token_map_(std::move(token_map)),
      hash_(config_.engram, token_map_.at(static_cast<size_t>(config_.engram.pad_token_id))),
      plain_(make_rope_table(config_.rope_theta, config_.qk_rope_head_dim, YarnConfig{})),
      yarn_(make_rope_table(config_.compress_rope_theta, config_.qk_rope_head_dim, config_.yarn)) {}

const Matrix& V41Reference::weight(const std::string& name) {
  const auto found = weights_.find(name);
  if (found != weights_.end()) return found->second;
  const quant::Weight stored =
      quant::make_weight(stored_weight(checkpoint_, name), config_.fp8_block);
  Matrix m{.rows = stored.rows, .cols = stored.cols, .values = {}};
  m.values.resize(static_cast<size_t>(m.rows * m.cols));
  for (int64_t r = 0; r < m.rows; ++r) {
    quant::decode_row(stored, r, m.values.data() + r * m.cols);
  }
  return weights_.emplace(name, std::move(m)).first->second;
}

Row V41Reference::rms(std::span<const double> x, const std::string& name) {
  return rms_norm(x, weight(name + ".weight").row(0), config_.rms_norm_eps);
}

Rows V41Reference::rms(const Rows& x, const std::string& name) {
  Rows y;
  for (const Row& row : x) y.push_back(rms(row, name));
  return y;
}

/// h[t][c] = embed[id_t] for every copy c.
std::vector<Rows> V41Reference::embed(const V41Input& input) {
  std::vector<Rows> h;
  for (size_t t = 0; t < input.tokens.size(); ++t) {
    const auto image = input.embeddings.find(to_index(t));
    const auto e = image == input.embeddings.end() ? weight("embed.weight").row(input.tokens[t])
                                                   : std::span<const float>(image->second);
    h.emplace_back(static_cast<size_t>(config_.hc_mult), Row(e.begin(), e.end()));
  }
  return h;
}

// ---- Section 6.5: Engram ----

std::vector<int64_t> V41Reference::engram_rows(size_t engram_layer, const V41Input& input) const {
  std::vector<int32_t> ids;
  for (size_t t = 0; t < input.tokens.size(); ++t) {
    const bool dead = !input.in_image.empty() && input.in_image[t];
    ids.push_back(dead ? v41::kEngramDead : token_map_.at(static_cast<size_t>(input.tokens[t])));
  }
  std::vector<int64_t> rows(ids.size() * static_cast<size_t>(hash_.columns()));
  hash_.row_ids(engram_layer, {}, ids, rows);
  return rows;
}

/// h[c] += sigmoid(copysign(sqrt(|dot|), dot)) * value, where dot compares the copy with its key.
void V41Reference::engram(int64_t layer, const V41Input& input, std::vector<Rows>& h,
                          V41LayerTrace& trace) {
  const auto& layers = config_.engram.layer_ids;
  const auto nth =
      static_cast<size_t>(std::find(layers.begin(), layers.end(), layer) - layers.begin());
  const std::vector<int64_t> rows = engram_rows(nth, input);
  const std::string name = layer_name(layer) + "engram.";
  const Matrix& embed = weight(name + "embed.weight");
  const Matrix& q_weight = weight(name + "q_weight");
  const Matrix& k_weight = weight(name + "k_weight");
  const auto dim = static_cast<size_t>(config_.hidden_size);
  const auto rsqrt_mean_square = [&](std::span<const double> x) {
    double squares = 0;
    for (const double v : x) squares += v * v;
    return 1 / std::sqrt(squares / static_cast<double>(dim) + config_.rms_norm_eps);
  };

  for (size_t t = 0; t < h.size(); ++t) {
    Row e;
    for (int64_t c = 0; c < hash_.columns(); ++c) {
      const auto row =
          embed.row(rows[t * static_cast<size_t>(hash_.columns()) + static_cast<size_t>(c)]);
      e.insert(e.end(), row.begin(), row.end());
    }
    const Row kv = linear(weight(name + "wkv.weight"), e);
    const std::span<const double> value(kv.data() + h[t].size() * dim, dim);
    Row gates;
    for (size_t c = 0; c < h[t].size(); ++c) {
      const std::span<const double> key(kv.data() + c * dim, dim);
      Row& copy = h[t][c];
      double sum = 0;
      for (size_t d = 0; d < dim; ++d) {
        const double qk =
            double{q_weight.row(to_index(c))[d]} * double{k_weight.row(to_index(c))[d]};
        sum += copy[d] * qk * key[d];
      }
      sum *= rsqrt_mean_square(copy) * rsqrt_mean_square(key) / std::sqrt(static_cast<double>(dim));
      const bool dead = !input.in_image.empty() && input.in_image[t];
      const double root = std::sqrt(std::max(std::abs(sum), 1e-6));
      const double gate = dead ? 0 : sigmoid(std::copysign(root, sum));
      for (size_t d = 0; d < dim; ++d) copy[d] += gate * value[d];
      gates.push_back(gate);
    }
    trace.engram_gate.push_back(gates);
  }
  trace.engram_out = h;
}

// ---- Section 4: hyper-connections ----

std::vector<Mix> V41Reference::mixes(const std::vector<Rows>& h, const std::string& name) {
  std::vector<Mix> result;
  for (const Rows& copies : h) {
    result.push_back(hyper_mix(copies, weight(name + "_fn"), weight(name + "_scale").row(0),
                               weight(name + "_base").row(0), config_));
  }
  return result;
}

// ---- Section 4.1: attention ----

V41Reference::Queries V41Reference::queries(const std::string& attn, const Rows& x, int64_t ratio,
                                            int64_t first_position) {
  Queries q;
  q.latent = rms(linear(weight(attn + "wq_a.weight"), x), attn + "q_norm");
  q.heads = linear(weight(attn + "wq_b.weight"), q.latent);
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  for (size_t t = 0; t < x.size(); ++t) {
    for (size_t begin = 0; begin < q.heads[t].size(); begin += head_dim) {
      rope({q.heads[t].data() + begin, head_dim}, first_position + to_index(t), table(ratio));
    }
  }
  return q;
}

Rows V41Reference::window_kv(const std::string& attn, const Rows& x, int64_t ratio,
                             int64_t first_position) {
  Rows kv = rms(linear(weight(attn + "wkv.weight"), x), attn + "kv_norm");
  for (size_t t = 0; t < kv.size(); ++t) rope(kv[t], first_position + to_index(t), table(ratio));
  return kv;
}

Row V41Reference::attend(const std::string& attn, const Row& q, const std::vector<const Row*>& keys,
                         int64_t position, int64_t ratio) {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  const auto sinks = weight(attn + "attn_sink").row(0);
  Row o;
  for (size_t head = 0; head < sinks.size(); ++head) {
    Row out =
        sink_attention({q.data() + head * head_dim, head_dim}, keys, scale, double{sinks[head]});
    rope(out, position, table(ratio), true);
    o.insert(o.end(), out.begin(), out.end());
  }
  const Matrix& wo_a = weight(attn + "wo_a.weight");
  Row u;
  for (int64_t g = 0; g < config_.o_groups; ++g) {
    const std::span<const double> group(o.data() + g * wo_a.cols, static_cast<size_t>(wo_a.cols));
    const Row ug = linear(wo_a, group, g * config_.o_lora_rank, config_.o_lora_rank);
    u.insert(u.end(), ug.begin(), ug.end());
  }
  return linear(weight(attn + "wo_b.weight"), u);
}

Rows V41Reference::attention(int64_t layer, const Rows& x, Published& published,
                             V41LayerTrace& trace) {
  const std::string attn = layer_name(layer) + "attn.";
  const int64_t ratio = config_.compress_ratio(layer);
  const Queries q = queries(attn, x, ratio, 0);
  const Rows window = window_kv(attn, x, ratio, 0);
  if (contains(config_.kv_source_layer_ids, layer)) compress(layer, x, published, trace);
  if (contains(config_.index_source_layer_ids, layer)) select(layer, x, q, published, trace);

  Rows out;
  for (size_t t = 0; t < x.size(); ++t) {
    const int64_t position = to_index(t);
    std::vector<const Row*> keys;
    const int64_t first = std::max<int64_t>(0, position - config_.sliding_window + 1);
    for (int64_t p = first; p <= position; ++p) keys.push_back(&window[static_cast<size_t>(p)]);
    if (ratio != 0) {
      for (const int64_t j : published.selected[t]) {
        keys.push_back(&published.compressed[static_cast<size_t>(j)]);
      }
    }
    out.push_back(attend(attn, q.heads[t], keys, position, ratio));
  }
  trace.window_kv = window;
  return out;
}

// ---- Section 4.2: compressor ----

/// Softmax over a group's gates, channel by channel, pools its values.
Rows V41Reference::pooled_latents(const std::string& compressor, const Rows& x, int64_t ratio) {
  const Rows kv = linear(weight(compressor + "wkv.weight"), x);
  if (ratio == 1) return kv;
  const Rows gate = linear(weight(compressor + "wgate.weight"), x);
  const auto group = static_cast<size_t>(ratio);
  Rows latents;
  for (size_t begin = 0; begin + group <= x.size(); begin += group) {
    Row z(kv[begin].size(), 0.0);
    for (size_t d = 0; d < z.size(); ++d) {
      double max = kMinusInfinity, sum = 0;
      for (size_t i = begin; i < begin + group; ++i) max = std::max(max, gate[i][d]);
      for (size_t i = begin; i < begin + group; ++i) sum += std::exp(gate[i][d] - max);
      for (size_t i = begin; i < begin + group; ++i) {
        z[d] += std::exp(gate[i][d] - max) / sum * kv[i][d];
      }
    }
    latents.push_back(z);
  }
  return latents;
}

void V41Reference::compress(int64_t layer, const Rows& x, Published& published,
                            V41LayerTrace& trace) {
  const std::string attn = layer_name(layer) + "attn.";
  const int64_t ratio = config_.compress_ratio(layer);
  Rows latents = rms(pooled_latents(attn + "compressor.", x, ratio), attn + "compressor.norm");
  Rows keys = rms(linear(weight(attn + "indexer.wk.weight"), latents), attn + "indexer.k_norm");
  for (size_t j = 0; j < latents.size(); ++j) {
    rope(latents[j], to_index(j) * ratio, table(ratio));
    rope(keys[j], to_index(j) * ratio, table(ratio));
  }
  trace.compressed = latents;
  trace.index_keys = keys;
  published.ratio = ratio;
  published.compressed = std::move(latents);
  published.index_keys = std::move(keys);
}

// ---- Section 4.3: indexer ----

Rows V41Reference::index_scores(int64_t layer, const Rows& x, const Queries& q,
                                const Published& published) {
  const std::string name = layer_name(layer) + "attn.indexer.";
  const auto heads = static_cast<size_t>(config_.index_n_heads);
  const auto dim = static_cast<size_t>(config_.index_head_dim);
  const double scale = 1 / std::sqrt(static_cast<double>(dim) * static_cast<double>(heads));
  Rows scores;
  for (size_t t = 0; t < x.size(); ++t) {
    Row query = linear(weight(name + "wq_b.weight"), q.latent[t]);
    const Row w = linear(weight(name + "weights_proj.weight"), x[t]);
    for (size_t h = 0; h < heads; ++h) {
      rope({query.data() + h * dim, dim}, to_index(t), table(published.ratio));
    }
    const int64_t visible = visible_rows(to_index(t), published.ratio);
    Row row(published.index_keys.size(), kMinusInfinity);
    for (size_t j = 0; j < static_cast<size_t>(visible); ++j) {
      double sum = 0;
      for (size_t h = 0; h < heads; ++h) {
        double qk = 0;
        for (size_t d = 0; d < dim; ++d) qk += query[h * dim + d] * published.index_keys[j][d];
        sum += std::max(qk, 0.0) * w[h] * scale;
      }
      row[j] = sum;
    }
    scores.push_back(row);
  }
  return scores;
}

/// Rows of the best blocks; the block of the newest visible row is always among them.
std::vector<bool> V41Reference::candidate_mask(const Row& scores, int64_t visible) const {
  const auto size = static_cast<size_t>(config_.candidate_block_size);
  Row block_scores((scores.size() + size - 1) / size, kMinusInfinity);
  for (size_t j = 0; j < scores.size(); ++j) {
    block_scores[j / size] = std::max(block_scores[j / size], scores[j]);
  }
  if (visible > 0) {
    block_scores[static_cast<size_t>(visible - 1) / size] = -kMinusInfinity;
  }
  std::vector<bool> mask(scores.size(), false);
  for (const int64_t block : top_k(block_scores, config_.candidate_topk_blocks)) {
    const size_t begin = static_cast<size_t>(block) * size;
    for (size_t j = begin; j < std::min(begin + size, mask.size()); ++j) mask[j] = true;
  }
  return mask;
}

void V41Reference::select(int64_t layer, const Rows& x, const Queries& q, Published& published,
                          V41LayerTrace& trace) {
  Rows scores = index_scores(layer, x, q, published);
  trace.index_scores = scores;
  const bool is_source = config_.candidate_source_layer_id == layer;
  const bool is_restricted =
      config_.candidate_source_layer_id && *config_.candidate_source_layer_id < layer;
  published.selected.assign(x.size(), {});
  if (is_source) published.candidates.assign(x.size(), {});
  for (size_t t = 0; t < x.size(); ++t) {
    if (is_source) {
      published.candidates[t] =
          candidate_mask(scores[t], visible_rows(to_index(t), published.ratio));
    }
    for (size_t j = 0; is_restricted && j < scores[t].size(); ++j) {
      if (!published.candidates[t][j]) scores[t][j] = kMinusInfinity;
    }
    published.selected[t] = top_k(scores[t], config_.index_topk);
    std::sort(published.selected[t].begin(), published.selected[t].end());
  }
  trace.selected = published.selected;
  if (is_source) trace.candidates = published.candidates;
}

// ---- Section 4.4: gate and experts ----

Row V41Reference::expert(const std::string& name, const Row& x, double routing_weight,
                         double limit) {
  const Row gate = linear(weight(name + "w1.weight"), x);
  const Row up = linear(weight(name + "w3.weight"), x);
  Row z(gate.size());
  for (size_t i = 0; i < z.size(); ++i) {
    const double g = limit > 0 ? std::min(gate[i], limit) : gate[i];
    const double u = limit > 0 ? std::clamp(up[i], -limit, limit) : up[i];
    z[i] = silu(g) * u * routing_weight;
  }
  return linear(weight(name + "w2.weight"), z);
}

Row V41Reference::moe(const std::string& ffn, const Row& x, bool in_image, int64_t top,
                      double limit, V41LayerTrace& trace) {
  Row scores = linear(weight(ffn + "gate.weight"), x);
  for (double& s : scores) s = std::sqrt(softplus(s / config_.gate_temp));
  const auto bias = weight(ffn + (in_image ? "gate.bias_vl" : "gate.bias")).row(0);
  Row biased = scores;
  for (size_t e = 0; e < biased.size(); ++e) biased[e] += double{bias[e]};
  const std::vector<int64_t> chosen = top_k(biased, top);
  double sum = 1e-20;
  for (const int64_t e : chosen) sum += scores[static_cast<size_t>(e)];

  Row y = expert(ffn + "shared_experts.", x, 1, limit);
  Row weights;
  for (const int64_t e : chosen) {
    const double s = scores[static_cast<size_t>(e)];
    const bool normalize = config_.norm_topk_prob && top > 1;
    weights.push_back((normalize ? s / sum : s) * config_.routed_scaling_factor);
    const Row ye = expert(ffn + "experts." + std::to_string(e) + ".", x, weights.back(), limit);
    for (size_t d = 0; d < y.size(); ++d) y[d] += ye[d];
  }
  trace.experts.push_back(chosen);
  trace.expert_weights.push_back(weights);
  return y;
}

// ---- Section 4: the whole ----

Row V41Reference::head(const Rows& h, std::span<const double> pre, const std::string& norm,
                       Row* collapsed, Row* normed) {
  *collapsed = collapse(pre, h);
  *normed = rms(*collapsed, norm);
  return linear(weight("head.weight"), *normed);
}

V41Trace V41Reference::forward(const V41Input& input) {
  V41Trace trace;
  const size_t tokens = input.tokens.size();
  std::vector<Rows> h = embed(input);
  Row identity(static_cast<size_t>(config_.hc_mult), 0.0);
  identity[0] = 1;
  Rows pre(tokens, identity);
  trace.main_hidden.resize(tokens);
  Published published;

  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    V41LayerTrace& out = trace.layers.emplace_back();
    const std::string name = layer_name(layer);
    if (contains(config_.engram.layer_ids, layer)) engram(layer, input, h, out);
    if (contains(config_.dspark.target_layer_ids, layer)) {
      const Row mean(identity.size(), 1 / static_cast<double>(identity.size()));
      for (size_t t = 0; t < tokens; ++t) {
        const Row m = collapse(mean, h[t]);
        trace.main_hidden[t].insert(trace.main_hidden[t].end(), m.begin(), m.end());
      }
    }
    const std::vector<Mix> attn_mix = mixes(h, name + "hc_attn");
    Rows x;
    for (size_t t = 0; t < tokens; ++t) x.push_back(collapse(pre[t], h[t]));
    out.attn_out = attention(layer, rms(x, name + "attn_norm"), published, out);
    for (size_t t = 0; t < tokens; ++t) h[t] = post_mix(out.attn_out[t], h[t], attn_mix[t]);

    const std::vector<Mix> ffn_mix = mixes(h, name + "hc_ffn");
    for (size_t t = 0; t < tokens; ++t) {
      const Row y = rms(collapse(attn_mix[t].pre, h[t]), name + "ffn_norm");
      const bool in_image = !input.in_image.empty() && input.in_image[t];
      out.ffn_out.push_back(moe(name + "ffn.", y, in_image, config_.num_experts_per_tok,
                                limit_of(config_.swiglu_limit, layer), out));
      h[t] = post_mix(out.ffn_out[t], h[t], ffn_mix[t]);
      pre[t] = ffn_mix[t].pre;
    }
    out.h = h;
  }
  for (size_t t = 0; t < tokens; ++t) {
    Row collapsed, normed;
    trace.logits.push_back(head(h[t], pre[t], "norm", &collapsed, &normed));
    trace.final_hidden.push_back(normed);
  }
  trace.last_pre = pre;
  return trace;
}

// ---- Section 7: DSpark ----

/// Every row of the block sees the ring and every row of the block.
Rows V41Reference::draft_attention(const std::string& attn, const Rows& x, const Rows& ring,
                                   int64_t position) {
  const Queries q = queries(attn, x, 0, position + 1);
  const Rows block = window_kv(attn, x, 0, position + 1);
  std::vector<const Row*> keys;
  for (const Row& row : ring) keys.push_back(&row);
  for (const Row& row : block) keys.push_back(&row);
  Rows out;
  for (size_t i = 0; i < x.size(); ++i) {
    out.push_back(attend(attn, q.heads[i], keys, position + 1 + to_index(i), 0));
  }
  return out;
}

V41Draft V41Reference::draft(const Rows& main_hidden, int64_t position, int32_t anchor) {
  const DSparkConfig& dspark = config_.dspark;
  const int64_t first = std::max<int64_t>(0, position + 1 - config_.sliding_window);
  Rows main_x;
  for (int64_t p = first; p <= position; ++p) {
    main_x.push_back(
        rms(linear(weight("mtp.0.main_proj.weight"), main_hidden[static_cast<size_t>(p)]),
            "mtp.0.main_norm"));
  }
  V41Input input;
  input.tokens.assign(static_cast<size_t>(dspark.block_size),
                      static_cast<int32_t>(dspark.noise_token_id));
  input.tokens[0] = anchor;
  std::vector<Rows> h = embed(input);
  Row identity(static_cast<size_t>(config_.hc_mult), 0.0);
  identity[0] = 1;
  Rows pre(h.size(), identity);
  V41Draft draft;
  V41LayerTrace unused;
  for (int64_t stage = 0; stage < config_.num_nextn_predict_layers; ++stage) {
    const std::string name = "mtp." + std::to_string(stage) + ".";
    const std::vector<Mix> attn_mix = mixes(h, name + "hc_attn");
    Rows x;
    for (size_t i = 0; i < h.size(); ++i) x.push_back(collapse(pre[i], h[i]));
    const Rows ring = window_kv(name + "attn.", main_x, 0, first);
    const Rows y = draft_attention(name + "attn.", rms(x, name + "attn_norm"), ring, position);
    for (size_t i = 0; i < h.size(); ++i) h[i] = post_mix(y[i], h[i], attn_mix[i]);
    const std::vector<Mix> ffn_mix = mixes(h, name + "hc_ffn");
    for (size_t i = 0; i < h.size(); ++i) {
      const Row f = moe(name + "ffn.", rms(collapse(attn_mix[i].pre, h[i]), name + "ffn_norm"),
                        false, dspark.num_experts_per_tok,
                        limit_of(config_.swiglu_limit, config_.num_hidden_layers), unused);
      h[i] = post_mix(f, h[i], ffn_mix[i]);
      pre[i] = ffn_mix[i].pre;
    }
    draft.stages.push_back(h);
  }
  const std::string last = "mtp." + std::to_string(config_.num_nextn_predict_layers - 1) + ".";
  draft.tokens.push_back(anchor);
  for (size_t i = 0; i < h.size(); ++i) {
    Row x, normed;
    Row logits = head(h[i], pre[i], last + "norm", &x, &normed);
    const auto e = weight(last + "markov_head.embed.weight").row(draft.tokens.back());
    const Row markov(e.begin(), e.end());
    const Row bias = linear(weight(last + "markov_head.head.weight"), markov);
    for (size_t v = 0; v < logits.size(); ++v) logits[v] += bias[v];
    x.insert(x.end(), markov.begin(), markov.end());
    draft.confidence.push_back(linear(weight(last + "confidence_head.proj.weight"), x)[0]);
    const auto best = std::max_element(logits.begin(), logits.end());
    draft.tokens.push_back(static_cast<int32_t>(best - logits.begin()));
    draft.logits.push_back(std::move(logits));
  }
  return draft;
}

}  // namespace lethe::model::reference
