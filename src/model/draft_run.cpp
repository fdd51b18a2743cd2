#include "model/draft_run.h"

#include <algorithm>

#include "base/error.h"
#include "model/v4/v4_model.h"
#include "model/v41/v41_model.h"

namespace lethe::model {

namespace {

class MtpRun : public DraftRun {
 public:
  MtpRun(v4::V4Model& model, std::span<const int32_t> tokens) : model_(model), tokens_(tokens) {}

  void step(SequenceState& state, int64_t begin, const ForwardResult& result) override {
    // The row of the last token has no successor to feed.
    const int64_t rows =
        std::min(result.hidden.rows(), static_cast<int64_t>(tokens_.size()) - 1 - begin);
    if (rows <= 0) return;
    ops::Matrix hidden(rows, result.hidden.cols());
    std::copy_n(result.hidden.values().begin(), hidden.values().size(), hidden.values().begin());
    const ops::Matrix logits = model_.mtp_forward(
        {&state, &hidden,
         tokens_.subspan(static_cast<size_t>(begin) + 1, static_cast<size_t>(rows))});
    logits_.insert(logits_.end(), logits.values().begin(), logits.values().end());
  }

  std::vector<TensorPlan> outputs() const override {
    return {{"mtp_logits",
             DType::F32,
             {static_cast<int64_t>(tokens_.size()) - 1, model_.config().vocab_size}}};
  }

  void write(SafetensorsWriter& writer) const override {
    writer.append(std::as_bytes(std::span(logits_)));
  }

 private:
  v4::V4Model& model_;
  std::span<const int32_t> tokens_;
  std::vector<float> logits_;
};

/// The first `count` rows of `x` from row `begin` on.
ops::Matrix rows_of(const ops::Matrix& x, int64_t begin, int64_t count) {
  ops::Matrix out(count, x.cols());
  std::copy_n(x.values().begin() + begin * x.cols(), out.values().size(), out.values().begin());
  return out;
}

class DsparkRun : public DraftRun {
 public:
  DsparkRun(v41::V41Model& model, int64_t num_tokens, int64_t first_position)
      : model_(model),
        block_(model.config().dspark.block_size),
        first_position_(first_position),
        num_drafts_(std::max<int64_t>(0, num_tokens - first_position)) {}

  void step(SequenceState& state, int64_t begin, const ForwardResult& result) override {
    const int64_t rows = result.hidden.rows();
    LETHE_CHECK(result.logits.rows() == rows, "the anchors need every row's logits");
    const int64_t before = std::clamp<int64_t>(first_position_ - begin, 0, rows);
    if (before > 0) model_.feed_draft(state, rows_of(result.hidden, 0, before));
    for (int64_t i = before; i < rows; ++i) {
      model_.feed_draft(state, rows_of(result.hidden, i, 1));
      const int32_t anchor = v41::greedy_token(result.logits.row(i));
      add(anchor, model_.draft(state, anchor));
    }
  }

  std::vector<TensorPlan> outputs() const override {
    return {{"mtp_tokens", DType::I32, {num_drafts_, block_ + 1}},
            {"mtp_logits", DType::F32, {num_drafts_, block_, model_.config().vocab_size}},
            {"mtp_confidence", DType::F32, {num_drafts_, block_}}};
  }

  void write(SafetensorsWriter& writer) const override {
    writer.append(std::as_bytes(std::span(tokens_)));
    writer.append(std::as_bytes(std::span(logits_)));
    writer.append(std::as_bytes(std::span(confidence_)));
  }

 private:
  void add(int32_t anchor, const v41::DraftBlock& draft) {
    tokens_.push_back(anchor);
    tokens_.insert(tokens_.end(), draft.tokens.begin(), draft.tokens.end());
    const std::span<const float> logits = draft.logits.values();
    logits_.insert(logits_.end(), logits.begin(), logits.end());
    confidence_.insert(confidence_.end(), draft.confidence.begin(), draft.confidence.end());
  }

  v41::V41Model& model_;
  int64_t block_;
  int64_t first_position_;
  int64_t num_drafts_;
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;
  std::vector<float> confidence_;
};

}  // namespace

std::unique_ptr<DraftRun> make_draft_run(Model& model, std::span<const int32_t> tokens,
                                         int64_t first_position) {
  if (!model.has_draft()) {
    throw Error(
        "this checkpoint has no draft head (its mtp.* tensors are missing); run without "
        "--mtp, or name the file that holds it with --draft");
  }
  if (auto* v4 = dynamic_cast<v4::V4Model*>(&model)) return std::make_unique<MtpRun>(*v4, tokens);
  if (auto* v41 = dynamic_cast<v41::V41Model*>(&model)) {
    return std::make_unique<DsparkRun>(*v41, static_cast<int64_t>(tokens.size()), first_position);
  }
  throw Error("this model family has no draft run");
}

}  // namespace lethe::model
