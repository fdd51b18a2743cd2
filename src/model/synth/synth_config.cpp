#include "model/synth/synth_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/v41/engram_hash.h"
#include "model/v41/engram_token_map.h"

namespace lethe::synth {

namespace {

int64_t count_ratio(const ModelConfig& c, int64_t ratio) {
  return std::count(c.compress_ratios.begin(), c.compress_ratios.begin() + c.num_hidden_layers,
                    ratio);
}

void check_layers(const SynthOptions& options, int64_t least) {
  constexpr int64_t kMost = 512;
  if (*options.layers < least || *options.layers > kMost) {
    throw UsageError("--layers {}: {} takes from {} to {} layers.", *options.layers, options.preset,
                     least, kMost);
  }
}

/// First `layers` ratios; beyond the preset's, its last two alternate on.
void set_v4_layers(ModelConfig& c, int64_t layers) {
  std::vector<int64_t> ratios;
  for (int64_t layer = 0; layer < layers; ++layer) {
    int64_t source = layer;
    if (layer >= c.num_hidden_layers) {
      source = c.num_hidden_layers - 2 + (layer - c.num_hidden_layers) % 2;
    }
    ratios.push_back(c.compress_ratio(source));
  }
  c.num_hidden_layers = layers;
  c.num_hash_layers = std::min(c.num_hash_layers, layers);
  c.compress_ratios = ratios;
}

/// Engram layers keep their relative depth; the first stays where it is.
std::vector<int64_t> scaled_engram_layers(const ModelConfig& preset, int64_t layers) {
  std::vector<int64_t> ids;
  for (const int64_t id : preset.engram.layer_ids) {
    int64_t place = id;
    if (!ids.empty()) {
      place = std::max(ids.back() + 1, id * layers / preset.num_hidden_layers);
    }
    if (place < layers) ids.push_back(place);
  }
  return ids;
}

/// Window-only layers stay; ratio-2 and ratio-1 layers share the rest as in the preset.
void set_v41_layers(ModelConfig& c, int64_t layers) {
  const ModelConfig preset = c;
  const int64_t window_only = count_ratio(preset, 0);
  const int64_t ratio2 = count_ratio(preset, 2);
  const int64_t ratio1 = count_ratio(preset, 1);
  const int64_t rest = layers - window_only;
  const int64_t first_ratio1 =
      window_only +
      std::clamp<int64_t>((2 * rest * ratio2 + ratio2 + ratio1) / (2 * (ratio2 + ratio1)), 1,
                          rest - 1);
  c.num_hidden_layers = layers;
  c.compress_ratios.assign(static_cast<size_t>(window_only), 0);
  c.compress_ratios.resize(static_cast<size_t>(first_ratio1), 2);
  c.compress_ratios.resize(static_cast<size_t>(layers), 1);

  const auto& kv = preset.kv_source_layer_ids;
  const int64_t kv_stride = kv[1] - kv[0];
  c.kv_source_layer_ids.clear();
  for (int64_t layer = window_only; layer < first_ratio1; layer += kv_stride) {
    c.kv_source_layer_ids.push_back(layer);
  }
  c.kv_source_layer_ids.push_back(first_ratio1);
  const auto& index = preset.index_source_layer_ids;
  const int64_t index_stride = index[index.size() - 1] - index[index.size() - 2];
  c.index_source_layer_ids = c.kv_source_layer_ids;
  for (int64_t layer = first_ratio1 + index_stride; layer < layers; layer += index_stride) {
    c.index_source_layer_ids.push_back(layer);
  }
  c.candidate_source_layer_id = first_ratio1;
  c.engram.layer_ids = scaled_engram_layers(preset, layers);
  const auto targets = static_cast<int64_t>(preset.dspark.target_layer_ids.size());
  c.dspark.target_layer_ids.clear();
  for (int64_t layer = std::max<int64_t>(0, layers - targets); layer < layers; ++layer) {
    c.dspark.target_layer_ids.push_back(layer);
  }
}

void set_layers(const SynthOptions& options, ModelConfig& c) {
  const int64_t drafts = options.draft ? c.num_nextn_predict_layers : 0;
  if (options.layers && *options.layers != c.num_hidden_layers) {
    if (c.family == ModelFamily::V4) {
      check_layers(options, 1);
      set_v4_layers(c, *options.layers);
    } else {
      check_layers(options, count_ratio(c, 0) + 2);
      set_v41_layers(c, *options.layers);
    }
  }
  c.num_nextn_predict_layers = drafts;
  c.compress_ratios.resize(static_cast<size_t>(c.num_hidden_layers));
  c.compress_ratios.resize(static_cast<size_t>(c.num_hidden_layers + drafts), 0);
  const double limit = c.swiglu_limit.at(0);
  c.swiglu_limit.assign(static_cast<size_t>(c.num_hidden_layers), limit);
  c.swiglu_limit_shared = c.swiglu_limit;
}

void set_experts(int64_t experts, ModelConfig& c) {
  constexpr int64_t kMost = 4096;
  if (experts < c.num_experts_per_tok || experts > kMost) {
    throw UsageError("--experts {}: {} are chosen per token; expected from that to {}.", experts,
                     c.num_experts_per_tok, kMost);
  }
  c.n_routed_experts = experts;
  c.dspark.n_routed_experts = std::min(c.dspark.n_routed_experts, experts);
}

/// Table sizes follow from the primes, the compressed vocabulary from the tokenizer: both must
/// agree with what a reader derives. spec/deepseek-v4.1.md sections 6.1, 6.2.
void set_engram(const SynthOptions& options, const Vocabulary& vocabulary, EngramConfig& engram) {
  if (options.engram_rows) {
    constexpr int64_t kMost = int64_t{1} << 36;
    engram.vocab_size = *options.engram_rows / engram.columns();
    if (engram.vocab_size < 2 || *options.engram_rows > kMost) {
      throw UsageError("--engram-rows {}: expected from {} to {}.", *options.engram_rows,
                       2 * engram.columns(), kMost);
    }
  }
  engram.pad_token_id = kPaddingId;
  engram.compressed_vocab_size =
      model::v41::build_engram_token_map(vocabulary.tokens).compressed_size;
  engram.num_embeddings.clear();
  int64_t prime = engram.vocab_size - 1;
  for (size_t layer = 0; layer < engram.layer_ids.size(); ++layer) {
    int64_t rows = 0;
    for (int64_t column = 0; column < engram.columns(); ++column) {
      prime = model::v41::next_prime(prime + 1);
      rows += prime;
    }
    engram.num_embeddings.push_back(rows);
  }
}

}  // namespace

Vocabulary synth_vocabulary(const SynthOptions& options) {
  const ModelConfig preset = preset_config(options.preset);
  return make_vocabulary(preset.family, options.vocab.value_or(preset.vocab_size));
}

ModelConfig synth_config(const SynthOptions& options, const Vocabulary& vocabulary) {
  ModelConfig c = preset_config(options.preset);
  c.name += " (random weights)";
  set_layers(options, c);
  if (options.experts) set_experts(*options.experts, c);
  c.vocab_size = vocabulary.size();
  c.has_vision = false;
  if (c.family == ModelFamily::V41) {
    c.image_token_id = vocabulary.id_of_special(kImageToken);
    c.dspark.noise_token_id = vocabulary.id_of_special(kNoiseToken);
    set_engram(options, vocabulary, c.engram);
  } else if (options.engram_rows) {
    throw UsageError("--engram-rows: {} has no Engram.", options.preset);
  }
  return c;
}

}  // namespace lethe::synth
