#include "model/v41/v41_model.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "model/fingerprint.h"
#include "model/v41/checkpoint_tokens.h"
#include "ops/embedding.h"
#include "ops/norm.h"

namespace lethe::model::v41 {

namespace {

int32_t compressed_pad(const EngramTokenMap& map, int64_t pad_token_id) {
  if (pad_token_id < 0 || pad_token_id >= static_cast<int64_t>(map.compressed.size())) {
    throw LoadError("config: engram_pad_token_id is {}, but the tokenizer has {} tokens.",
                    pad_token_id, map.compressed.size());
  }
  return map.compressed[static_cast<size_t>(pad_token_id)];
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
      rope_(config_),
      token_map_(load_engram_token_map(checkpoint)),
      hash_(config_.engram, compressed_pad(token_map_, config_.engram.pad_token_id)) {
  const WeightLoader loader(checkpoint);
  embed_ = loader.matrix("embed.weight");
  norm_ = loader.vector("norm.weight");
  head_ = loader.linear("head", ops::LinearRole::Head);
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    blocks_.push_back(Block::layer(loader, i, rope_, hash_, device.numerics()));
    blocks_.back().attention().set_stale_index_keys(options.stale_index_keys);
  }
  if (checkpoint.has_draft()) dspark_.emplace(loader, rope_, device.numerics());
  layout_ = make_layout();
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
  return layout;
}

void V41Model::append_history(const Batch& batch) const {
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    if (batch.tokens[i] < num_tokens()) continue;
    throw Error("token {} at position {} is not in this model's tokenizer, which has {} tokens",
                batch.tokens[i], batch.positions[i], num_tokens());
  }
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

ForwardResult V41Model::forward(std::span<const SequenceChunk> chunks,
                                const ForwardOptions& options) {
  const Batch batch = Batch::of(chunks, config_.vocab_size, config_.max_position_embeddings);
  append_history(batch);
  const TraceScope trace(options.trace);
  const ops::Matrix embedded = ops::embed(device_, embed_, batch.tokens);
  ops::Matrix streams = repeat_streams(embedded, config_.hc_mult);
  ops::Matrix pre = identity_pre_mix(batch.rows(), config_.hc_mult);
  SharedStreams shared = new_shared_streams(batch);

  const auto targets = static_cast<int64_t>(config_.dspark.target_layer_ids.size());
  ops::Matrix hidden(options.keep_hidden ? batch.rows() : 0, targets * config_.hidden_size);
  int64_t hidden_columns = 0;
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const TraceScope inside =
        options.trace == nullptr ? TraceScope() : trace.inside(fmt::format("layers.{}", i));
    blocks_[static_cast<size_t>(i)].inject_engram(device_, streams, batch, inside);
    if (options.keep_hidden && is_draft_target(i)) {
      put_columns(hidden, hidden_columns, mean_stream(device_, streams, config_.hc_mult));
      hidden_columns += config_.hidden_size;
    }
    blocks_[static_cast<size_t>(i)].forward(device_, streams, pre, batch, shared, inside);
  }
  for (const SequenceRows& rows : batch.sequences) rows.state->advance(rows.row_count);

  ForwardResult result;
  result.logits = logits(streams, pre, chunks, trace);
  result.hidden = std::move(hidden);
  return result;
}

ops::Matrix V41Model::logits(const ops::Matrix& streams, const ops::Matrix& pre,
                             std::span<const SequenceChunk> chunks, const TraceScope& trace) const {
  const ops::Matrix wanted = logit_rows(streams, chunks);
  if (wanted.rows() == 0) return {};
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
