#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "serve/served_model.h"

namespace lethe::mini {

/// How well a model foretells texts.
struct TextLoss {
  double nats = 0;  ///< mean over all tokens but the first of each text
  int64_t num_tokens = 0;
};

/// Texts of `lines` lines each, with a BOS before each, at most `max_tokens` in all.
TextLoss text_loss(serve::ServedModel& model, const std::vector<std::string>& text_lines,
                   size_t lines, int64_t max_tokens);

/// The answers to definition questions as training has them: what is learned by heart.
TextLoss answer_loss(serve::ServedModel& model, const std::vector<std::string>& questions,
                     const std::vector<std::string>& answers);

}  // namespace lethe::mini
