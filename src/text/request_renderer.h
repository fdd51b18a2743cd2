#pragma once

#include "text/chat_request.h"
#include "text/stream_parser.h"

namespace lethe {

/// A request as the model gets it, and how to read what the model answers.
struct RenderedRequest {
  Prompt prompt;
  bool thinking = true;
  StreamParserOptions parser;
};

/// Request to prompt as DeepSeek's servers do it (spec encoding.md section 8, "level B"): earlier
/// reasoning stays, so that the prompt of the next turn begins with this prompt and its completion.
/// Throws RequestError for a request that breaks a rule. Pure; any thread.
RenderedRequest render_request(const ChatRequest& request, const PromptProfile& profile);

}  // namespace lethe
