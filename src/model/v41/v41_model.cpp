#include "model/v41/v41_model.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "model/fingerprint.h"
#include "model/v41/checkpoint_tokens.h"
#include "ops/embedding.h"
#include "ops/norm.h"
#include "ops/profile.h"

namespace lethe::model::v41 {

namespace {

EngramTokenMap load_token_map(const Checkpoint& checkpoint) {
  if (checkpoint.config().engram.layer_ids.empty()) return {};
  return load_engram_token_map(checkpoint);
}

EngramHash make_hash(const EngramConfig& config, const EngramTokenMap& map) {
  if (config.layer_ids.empty()) return {};
  const auto tokens = static_cast<int64_t>(map.compressed.size());
  if (config.pad_token_id < 0 || config.pad_token_id >= tokens) {
    throw LoadError("config: engram_pad_token_id is {}, but the tokenizer has {} tokens.",
                    config.pad_token_id, tokens);
  }
  return EngramHash(config, map.compressed[static_cast<size_t>(config.pad_token_id)]);
}

/// Columns [begin, begin + part.cols()) of `out` become `part`.
void put_columns(ops::Matrix& out, int64_t begin, const ops::Matrix& part) {
  for (int64_t t = 0; t < part.rows(); ++t) {
    std::copy(part.row(t).begin(), part.row(t).end(), out.row(t).begin() + begin);
  }
}

/// The mean of a token's streams, one rounding point: [tokens, dim].
ops::Matrix mean_stream(const ops::Device& device, const ops::Matrix& streams, int64_t hc_mult) {
  ops::Matrix weights(streams.rows(), hc_mult);
  std::fill(weights.values().begin(), weights.values().end(), 1.0f / static_cast<float>(hc_mult));
  return ops::hyper_collapse(device, streams, weights);
}

}  // namespace

V41Model::V41Model(const Checkpoint& checkpoint, const ops::Device& device,
                   const ModelOptions& options)
    : config_(checkpoint.config()),
      device_(device),
      options_(options),
      expert_cache_(make_expert_cache(options.expert_cache_bytes)),
      rope_(config_),
      token_map_(load_token_map(checkpoint)),
      hash_(make_hash(config_.engram, token_map_)) {
  const WeightLoader loader(checkpoint, expert_cache_.get());
  embed_ = loader.matrix("embed.weight");
  norm_ = loader.vector("norm.weight");
  head_ = loader.linear("head", ops::LinearRole::Head);
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    blocks_.push_back(Block::layer(loader, i, rope_, hash_, device.numerics()));
    blocks_.back().attention().set_stale_index_keys(options.stale_index_keys);
  }
  if (checkpoint.has_draft()) dspark_.emplace(loader, rope_, device.numerics(), num_tokens());
  if (expert_cache_) expert_cache_->make_slots();
  layout_ = make_layout();
}

int64_t V41Model::num_tokens() const {
  const auto mapped = static_cast<int64_t>(token_map_.compressed.size());
  return hash_.layers().empty() ? config_.vocab_size : std::min(mapped, config_.vocab_size);
}

std::shared_ptr<const StateLayout> V41Model::make_layout() const {
  auto layout = std::make_shared<StateLayout>();
  layout->window = config_.sliding_window;
  layout->max_positions = config_.max_position_embeddings;
  layout->history_tokens = hash_.lookback();
  layout->rollback_tokens = std::max(layout->rollback_tokens, config_.dspark.block_size + 1);
  for (const Block& block : blocks_) layout->layers.push_back(block.attention().cache_layout());
  if (dspark_) layout->drafts = dspark_->cache_layouts();
  layout->fingerprint = fingerprint(config_, device_.numerics());
  // States that a bounded replay left are not those of a full pass.
  if (narrowing_rows() < exact_narrowing_rows()) {
    layout->fingerprint ^= 0x9e3779b97f4a7c15u * static_cast<uint64_t>(*options_.replay_rows + 1);
  }
  return layout;
}

void V41Model::append_history(const Batch& batch) const {
  if (hash_.layers().empty()) return;
  for (const SequenceRows& rows : batch.sequences) {
    ops::RowStore& history = rows.state->history();
    const int64_t first = history.append(rows.row_count);
    LETHE_CHECK(first == rows.position, "token history and positions went apart");
    for (int64_t i = 0; i < rows.row_count; ++i) {
      const int32_t token = batch.tokens[static_cast<size_t>(rows.row_begin + i)];
      const int32_t id = token_map_.compressed[static_cast<size_t>(token)];
      std::memcpy(history.mutable_row(first + i), &id, sizeof(id));
    }
  }
}

SharedStreams V41Model::new_shared_streams(const Batch& batch) const {
  SharedStreams shared;
  // Stale keys: the pass begins with what the pass before it left, the last KV source's.
  const bool stale = options_.stale_index_keys && !config_.kv_source_layer_ids.empty();
  shared.index_key_source.assign(batch.sequences.size(),
                                 stale ? config_.kv_source_layer_ids.back() : -1);
  return shared;
}

bool V41Model::is_draft_target(int64_t layer) const {
  const std::vector<int64_t>& targets = config_.dspark.target_layer_ids;
  return std::find(targets.begin(), targets.end(), layer) != targets.end();
}

int64_t V41Model::num_narrow_layers() const {
  const std::vector<int64_t>& sources = config_.kv_source_layer_ids;
  const int64_t last = sources.empty() ? -1 : *std::max_element(sources.begin(), sources.end());
  return config_.num_hidden_layers - 1 - std::max<int64_t>(0, last);
}

/// Each layer reads W - 1 rows before its own.
int64_t V41Model::exact_narrowing_rows() const {
  return num_narrow_layers() * (config_.sliding_window - 1);
}

int64_t V41Model::narrowing_rows() const {
  return options_.replay_rows.value_or(exact_narrowing_rows());
}

V41Model::LayersResult V41Model::run_layers(const Batch& all, bool keep_hidden,
                                            const TraceScope& trace) {
  append_history(all);
  const Batch wanted = all.only(false);
  const int64_t source = last_kv_source();
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].prefetch_engram(device_, static_cast<int64_t>(i) <= source ? all : wanted);
  }
  const ops::Matrix embedded = ops::embed(device_, embed_, all.tokens);
  const auto targets = static_cast<int64_t>(config_.dspark.target_layer_ids.size());
  LayersResult out{repeat_streams(embedded, config_.hc_mult),
                   identity_pre_mix(all.rows(), config_.hc_mult),
                   ops::Matrix(keep_hidden ? all.rows() : 0, targets * config_.hidden_size)};
  SharedStreams shared = new_shared_streams(all);
  const Batch* batch = &all;
  int64_t hidden_columns = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    const TraceScope inside = trace.inside("layers", i);
    blocks_[i].inject_engram(device_, out.streams, *batch, inside);
    if (keep_hidden && is_draft_target(layer)) {
      put_columns(out.hidden, hidden_columns, mean_stream(device_, out.streams, config_.hc_mult));
      hidden_columns += config_.hidden_size;
    }
    if (layer == source && all.has_narrow()) {
      blocks_[i].remember(device_, rows_of(out.streams, all, true), rows_of(out.pre, all, true),
                          all.only(true));
      out.streams = rows_of(out.streams, all, false);
      out.pre = rows_of(out.pre, all, false);
      shared = shared.only(all, false);
      batch = &wanted;
      if (wanted.rows() == 0) break;
    }
    blocks_[i].forward(device_, out.streams, out.pre, *batch, shared, inside);
  }
  return out;
}

std::vector<int32_t> V41Model::refused_tokens() const {
  if (!config_.image_token_id || *config_.image_token_id >= num_tokens()) return {};
  return {static_cast<int32_t>(*config_.image_token_id)};
}

void V41Model::refuse_images(const Batch& batch) const {
  if (!config_.image_token_id) return;
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    if (batch.tokens[i] != *config_.image_token_id) continue;
    throw Error(
        "token {} at position {} stands for a piece of an image, and Lethe reads text only: take "
        "the image out of the input",
        batch.tokens[i], batch.positions[i]);
  }
}

ForwardResult V41Model::forward(std::span<const SequenceChunk> chunks,
                                const ForwardOptions& options) {
  const Batch batch = Batch::of(chunks, num_tokens(), config_.max_position_embeddings);
  refuse_images(batch);
  LETHE_CHECK(!options.keep_hidden || !batch.has_narrow(), "narrow rows have no draft input");
  const TraceScope trace(options.trace);
  LayersResult layers;
  try {
    layers = run_layers(batch, options.keep_hidden, trace);
  } catch (...) {
    for (const SequenceRows& rows : batch.sequences) rows.state->abandon();
    throw;
  }
  RecycledVector<SequenceChunk> wanted;  // those that `layers` has rows of
  for (size_t i = 0; i < chunks.size(); ++i) {
    const SequenceRows& rows = batch.sequences[i];
    if (rows.narrow) {
      rows.state->advance_narrow(rows.row_count, last_kv_source() + 1, narrowing_rows());
    } else {
      rows.state->advance(rows.row_count);
      wanted.push_back(chunks[i]);
    }
  }
  return {.logits = logits(layers.streams, layers.pre, wanted, trace),
          .hidden = std::move(layers.hidden)};
}

ops::Matrix V41Model::logits(const ops::Matrix& streams, const ops::Matrix& pre,
                             std::span<const SequenceChunk> chunks, const TraceScope& trace) const {
  const ops::Matrix wanted = logit_rows(streams, chunks);
  if (wanted.rows() == 0) return {};
  ops::ProfileScope profile(device_, ops::Part::Head);
  profile.read(head_);
  ops::Matrix x = ops::hyper_collapse(device_, wanted, logit_rows(pre, chunks));
  ops::rms_norm(device_, x, norm_, config_.rms_norm_eps);
  trace.add("final_hidden", x);
  return ops::linear(device_, x, head_);
}

const DSpark& V41Model::dspark() const {
  if (!dspark_) throw Error("this checkpoint has no draft head: its mtp.* tensors are missing");
  return *dspark_;
}

void V41Model::feed_draft(SequenceState& state, const ops::Matrix& hidden) {
  dspark().feed(device_, state, hidden);
}

DraftBlock V41Model::draft(SequenceState& state, int32_t anchor, const TokenChooser& choose,
                           Trace* trace) {
  return dspark().draft(device_, state, anchor, choose, TraceScope(trace));
}

}  // namespace lethe::model::v41
