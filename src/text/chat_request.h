#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/request_fields.h"
#include "text/request_parameters.h"
#include "text/tool_call.h"

namespace lethe {

enum class RequestRole { system, user, assistant, tool, latest_reminder };

struct RequestMessage {
  RequestRole role = RequestRole::user;
  Prompt content;           ///< client text; an image is its placeholder, as template
  bool has_content = true;  ///< false for an assistant's null
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
  bool is_prefix = false;  ///< the answer goes on from here
};

struct RequestTool {
  std::string name;
  std::string description;
  Json parameters = Json::object();
  bool strict = false;
};

enum class ToolChoice { automatic, none, required, named };

/// What a client asks for, whatever protocol it came by: the HTTP adapters and the command line
/// fill it, render_request() turns it into a prompt.
struct ChatRequest {
  std::vector<RequestMessage> messages;
  std::vector<RequestTool> tools;
  ToolChoice tool_choice = ToolChoice::automatic;
  std::string chosen_tool;       ///< for ToolChoice::named
  std::optional<bool> thinking;  ///< absent: decided by the effort
  ReasoningEffort effort;        ///< as the client names it: minimal ... max, none, or a number
  bool json_mode = false;
  std::vector<std::string> stop;
  RequestParameters parameters;
  std::vector<Json> images;  ///< {"type": "image_url", ...} parts, in reading order
  /// Interrupted agents leave calls without results and results without calls: show an empty result
  /// and plain text instead of refusing.
  bool lenient_pairing = false;
  bool repair = true;  ///< mend malformed calls in the answer (StreamParserOptions::repair)
};

/// Reads the body of POST /chat/completions (spec api.md section 2.1). Keys it does not know are
/// ignored, as the API demands. Throws RequestError.
ChatRequest parse_chat_request(const Json& body, const PromptProfile& profile);

}  // namespace lethe
