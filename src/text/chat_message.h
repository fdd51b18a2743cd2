#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/tool_call.h"

namespace lethe {

/// A piece of a user message: its own text, or the result of a tool.
struct ContentBlock {
  bool is_tool_result = false;
  std::string tool_call_id;  ///< of a result
  Prompt content;            ///< text; an image is its placeholder, as template
};

/// A message as the checkpoint's own encoder sees it (spec encoding.md section 3.1).
struct ChatMessage {
  std::string role;
  Prompt content;
  std::optional<std::vector<ContentBlock>> blocks;  ///< V4.1 content given as a list
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
  std::vector<Json> tools;  ///< function objects, named as the profile names them
  Json response_format;     ///< null where there is none
  std::optional<std::string> task;
  bool without_eos = false;
};

/// Reads one message. Images (V4.1) are replaced by their placeholder and appended to `images` in
/// reading order, as `{"type": "image", "url" | "source" | "data": ...}`. Unknown keys are ignored.
/// Throws PromptError naming the key for what the profile's encoder refuses.
ChatMessage parse_chat_message(const Json& message, const PromptProfile& profile,
                               std::vector<Json>& images);

}  // namespace lethe
