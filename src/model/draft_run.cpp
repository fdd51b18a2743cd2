#include "model/draft_run.h"

#include <algorithm>

#include "base/error.h"
#include "model/v4/v4_model.h"

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

}  // namespace

std::unique_ptr<DraftRun> make_draft_run(Model& model, std::span<const int32_t> tokens,
                                         int64_t first_position) {
  static_cast<void>(first_position);
  if (!model.has_draft()) {
    throw Error(
        "this checkpoint has no draft head (its mtp.* tensors are missing); run without "
        "--mtp, or name the file that holds it with --draft");
  }
  if (auto* v4 = dynamic_cast<v4::V4Model*>(&model)) return std::make_unique<MtpRun>(*v4, tokens);
  throw Error("this model family has no draft run");
}

}  // namespace lethe::model
