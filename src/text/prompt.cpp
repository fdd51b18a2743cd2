#include "text/prompt.h"

namespace lethe {

Prompt Prompt::client(std::string_view text) {
  Prompt prompt;
  prompt.add_client(text);
  return prompt;
}

void Prompt::add(std::string_view text, bool is_template) {
  if (text.empty()) return;
  if (!segments_.empty() && segments_.back().is_template == is_template) {
    segments_.back().text += text;
  } else {
    segments_.push_back({std::string(text), is_template});
  }
}

void Prompt::append(const Prompt& other) {
  for (const PromptSegment& segment : other.segments_) add(segment.text, segment.is_template);
}

std::string Prompt::text() const {
  std::string out;
  for (const PromptSegment& segment : segments_) out += segment.text;
  return out;
}

std::string Prompt::client_text() const {
  std::string out;
  for (const PromptSegment& segment : segments_) {
    if (!segment.is_template) out += segment.text;
  }
  return out;
}

}  // namespace lethe
