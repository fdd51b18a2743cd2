#include "model/v4/v4_model.h"

#include "base/error.h"
#include "model/fingerprint.h"
#include "ops/embedding.h"

namespace lethe::model::v4 {

V4Model::V4Model(const Checkpoint& checkpoint, const ops::Device& device,
                 const ModelOptions& options)
    : config_(checkpoint.config()),
      device_(device),
      rope_(config_),
      expert_cache_(make_expert_cache(options.expert_cache_bytes)),
      embed_(WeightLoader(checkpoint).matrix("embed.weight")),
      head_(WeightLoader(checkpoint), "") {
  const WeightLoader loader(checkpoint, expert_cache_.get());
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    blocks_.emplace_back(loader, i, /*draft=*/false, rope_, device.numerics());
  }
  if (checkpoint.has_draft()) mtp_.emplace_back(loader, 0, rope_, device.numerics());
  if (expert_cache_) expert_cache_->make_slots();
  layout_ = make_layout();
}

std::shared_ptr<const StateLayout> V4Model::make_layout() const {
  auto layout = std::make_shared<StateLayout>();
  layout->window = config_.sliding_window;
  layout->max_positions = config_.max_position_embeddings;
  layout->draft_lag = 1;
  for (const Block& block : blocks_) layout->layers.push_back(block.cache_layout());
  for (const Mtp& mtp : mtp_) layout->drafts.push_back(mtp.cache_layout());
  layout->fingerprint = fingerprint(config_, device_.numerics());
  return layout;
}

ops::Matrix V4Model::run_blocks(const Batch& batch, const TraceScope& trace) {
  for (const Block& block : blocks_) block.prefetch_experts(batch);
  const ops::Matrix embedded = ops::embed(device_, embed_, batch.tokens);
  trace.add("embed_out", embedded);
  ops::Matrix streams = repeat_streams(embedded, config_.hc_mult);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].forward(device_, streams, batch, trace.inside("layers", i));
  }
  return streams;
}

ForwardResult V4Model::forward(std::span<const SequenceChunk> chunks,
                               const ForwardOptions& options) {
  const Batch batch = Batch::of(chunks, config_.vocab_size, config_.max_position_embeddings);
  ops::Matrix streams;
  try {
    streams = run_blocks(batch, TraceScope(options.trace));
  } catch (...) {
    for (const SequenceRows& rows : batch.sequences) rows.state->abandon();
    throw;
  }
  for (const SequenceRows& rows : batch.sequences) rows.state->advance(rows.row_count);

  ForwardResult result;
  const ops::Matrix wanted = logit_rows(streams, chunks);
  if (wanted.rows() > 0) result.logits = head_.forward(device_, wanted);
  if (options.keep_hidden) result.hidden = std::move(streams);
  return result;
}

ops::Matrix V4Model::mtp_forward(const MtpChunk& chunk, Trace* trace) {
  if (mtp_.empty()) {
    throw Error("this checkpoint has no MTP block: its mtp.* tensors are missing");
  }
  const ops::RowStore& fed = chunk.state->draft(0).window;
  const auto rows = static_cast<int64_t>(chunk.next_tokens.size());
  LETHE_CHECK(chunk.hidden->rows() == rows);
  if (fed.end() + rows > chunk.state->position()) {
    throw Error(
        "the MTP block cannot run ahead of the model: it stands at position {}, {} rows "
        "would pass {}",
        fed.end(), rows, chunk.state->position());
  }
  Batch batch;
  batch.sequences.push_back({chunk.state, 0, rows, fed.end()});
  for (int64_t i = 0; i < rows; ++i) {
    batch.tokens.push_back(chunk.next_tokens[static_cast<size_t>(i)]);
    batch.positions.push_back(fed.end() + i);
  }
  return mtp_[0].forward(device_, *chunk.hidden, batch, TraceScope(trace, "mtp.0."));
}

}  // namespace lethe::model::v4
