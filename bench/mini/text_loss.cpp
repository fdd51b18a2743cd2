#include "mini/text_loss.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "text/prompt.h"
#include "text/prompt_texts.h"
#include "text/prompt_tokens.h"

namespace lethe::mini {

namespace {

constexpr size_t kBatch = 32;

double loss_of(std::span<const float> logits, int32_t id) {
  const double highest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
  return highest + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(id)]);
}

/// A text, of whose tokens those from `begin` on count.
struct Sample {
  std::vector<int32_t> ids;
  size_t begin;
};

/// Adds the losses of the samples, computed together.
void add_losses(model::Model& model, std::span<const Sample> samples, TextLoss& loss) {
  std::vector<model::SequenceState> states;
  for (size_t i = 0; i < samples.size(); ++i) states.push_back(model.new_state());
  std::vector<model::SequenceChunk> chunks;
  for (size_t i = 0; i < samples.size(); ++i) {
    chunks.push_back({&states[i], samples[i].ids, model::LogitRows::All});
  }
  const model::ForwardResult result = model.forward(chunks);
  int64_t row = 0;
  for (const Sample& sample : samples) {
    for (size_t i = sample.begin; i < sample.ids.size(); ++i) {
      loss.nats += loss_of(result.logits.row(row + static_cast<int64_t>(i) - 1), sample.ids[i]);
      ++loss.num_tokens;
    }
    row += static_cast<int64_t>(sample.ids.size());
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
    const Sample sample{model.encode(prompt), 1};
    add_losses(model.model(), std::span(&sample, 1), loss);
  }
  return mean(loss);
}

TextLoss answer_loss(serve::ServedModel& model, const std::vector<std::string>& questions,
                     const std::vector<std::string>& answers) {
  std::vector<Sample> samples;
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
    samples.push_back({model.encode(prompt), begin});
  }
  TextLoss loss;
  for (size_t i = 0; i < samples.size(); i += kBatch) {
    add_losses(model.model(), std::span(samples).subspan(i, std::min(kBatch, samples.size() - i)),
               loss);
  }
  return mean(loss);
}

}  // namespace lethe::mini
