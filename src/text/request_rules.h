#pragma once

#include "text/chat_request.h"

namespace lethe {

/// What a request comes to (spec encoding.md section 8, steps 1 to 3).
struct RequestMode {
  bool thinking = true;
  ReasoningEffort effort;  ///< what effort_prefix() of the profile takes
  bool forces_call = false;
  std::vector<RequestTool> tools;  ///< those the model may call
};

/// Throws RequestError for an unknown effort or tool, and for a forced call in thinking mode.
RequestMode resolve_mode(const ChatRequest& request, const PromptProfile& profile);

/// The request's messages, checked for the rules of step 4 (and the word "json" of step 7). With
/// lenient_pairing, calls and results that do not pair are mended instead. Throws RequestError.
std::vector<RequestMessage> checked_messages(const ChatRequest& request);

/// Steps 5 and 6: empty system messages vanish, V4's late ones become user messages, neighbours
/// merge, tool results stand in the order of their calls.
std::vector<RequestMessage> normalised_messages(std::vector<RequestMessage> messages,
                                                const PromptProfile& profile);

}  // namespace lethe
