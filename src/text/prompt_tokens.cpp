#include "text/prompt_tokens.h"

namespace lethe {

std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt) {
  std::vector<int32_t> ids;
  for (const PromptSegment& segment : prompt.segments()) {
    tokenizer.append_encoded(segment.text, {.parse_special = segment.is_template}, ids);
  }
  return ids;
}

}  // namespace lethe
