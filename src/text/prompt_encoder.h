#pragma once

#include <string>
#include <vector>

#include "text/chat_message.h"
#include "text/prompt.h"
#include "text/prompt_profile.h"

namespace lethe {

/// Options of the checkpoint's own encoder, under its names (spec encoding.md section 3.1).
struct EncodeOptions {
  std::string thinking_mode = "thinking";  ///< chat or thinking
  bool drop_thinking = true;
  ReasoningEffort reasoning_effort = {};
  bool add_default_bos_token = true;
  Json context = Json::array();  ///< messages rendered before: they have influence, but no output
};

struct EncodedMessages {
  Prompt prompt;
  std::vector<Json> images;  ///< records of the images in `messages`, in reading order
};

/// Message list to prompt, byte for byte as the encoder shipped with the checkpoint does it (spec
/// encoding.md section 3, "level A"). `messages` is a list of objects. Throws PromptError for what
/// that encoder refuses. Pure; any thread.
EncodedMessages encode_messages(const PromptProfile& profile, const Json& messages,
                                const EncodeOptions& options);

/// The options of a JSON object with the keys above (and `context`). Throws PromptError.
EncodeOptions parse_encode_options(const Json& options);

}  // namespace lethe
