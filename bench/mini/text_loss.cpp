#include "mini/text_loss.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "text/prompt.h"
#include "text/prompt_texts.h"
#include "text/prompt_tokens.h"

namespace lethe::mini {

namespace {

double loss_of(std::span<const float> logits, int32_t id) {
  const double highest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
  return highest + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(id)]);
}

/// Adds the losses of the tokens from `begin` on.
void add_losses(serve::ServedModel& model, const std::vector<int32_t>& ids, size_t begin,
                TextLoss& loss) {
  model::SequenceState state = model.model().new_state();
  const model::SequenceChunk chunk{&state, ids, model::LogitRows::All};
  const model::ForwardResult result = model.model().forward(std::span(&chunk, 1));
  for (size_t i = begin; i < ids.size(); ++i) {
    loss.nats += loss_of(result.logits.row(static_cast<int64_t>(i) - 1), ids[i]);
    ++loss.num_tokens;
  }
}

TextLoss mean(TextLoss loss) {
  if (loss.num_tokens > 0) loss.nats /= static_cast<double>(loss.num_tokens);
  return loss;
}

}  // namespace

TextLoss text_loss(serve::ServedModel& model, const std::vector<std::string>& text_lines,
                   size_t lines, int64_t max_tokens) {
  TextLoss loss;
  for (size_t begin = 0; begin < text_lines.size() && loss.num_tokens < max_tokens;
       begin += lines) {
    Prompt prompt;
    prompt.add_template(prompt_texts::kBos);
    for (size_t i = begin; i < std::min(text_lines.size(), begin + lines); ++i) {
      prompt.add_client(text_lines[i] + "\n");
    }
    add_losses(model, model.encode(prompt), 1, loss);
  }
  return mean(loss);
}

TextLoss answer_loss(serve::ServedModel& model, const std::vector<std::string>& questions,
                     const std::vector<std::string>& answers) {
  TextLoss loss;
  for (size_t i = 0; i < questions.size(); ++i) {
    Prompt prompt;
    prompt.add_template(prompt_texts::kBos);
    prompt.add_template(prompt_texts::kUser);
    prompt.add_client(questions[i]);
    prompt.add_template(prompt_texts::kAssistant);
    prompt.add_template(prompt_texts::kThinkEnd);
    const size_t begin = model.encode(prompt).size();
    prompt.add_client(answers[i]);
    prompt.add_template(prompt_texts::kEos);
    add_losses(model, model.encode(prompt), begin, loss);
  }
  return mean(loss);
}

}  // namespace lethe::mini
