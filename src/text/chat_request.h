#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/tool_call.h"

namespace lethe {

/// A request that a server answers with `status()`: 400 for a broken rule, 422 for a value of the
/// wrong type. what() names the place ("messages[2].content: ...").
class RequestError : public Error {
 public:
  RequestError(int status, const std::string& what) : Error("{}", what), status_(status) {}
  int status() const noexcept { return status_; }
  int exit_code() const noexcept override { return 2; }

 private:
  int status_;
};

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

/// What a client asks for, whatever protocol it came by, as far as text goes: the HTTP adapters and
/// the command line fill it, render_request() turns it into a prompt.
struct ChatRequest {
  std::vector<RequestMessage> messages;
  std::vector<RequestTool> tools;
  ToolChoice tool_choice = ToolChoice::automatic;
  std::string chosen_tool;       ///< for ToolChoice::named
  std::optional<bool> thinking;  ///< absent: decided by the effort
  ReasoningEffort effort;        ///< as the client names it: minimal ... max, none, or a number
  bool json_mode = false;
  std::vector<std::string> stop;
  std::vector<Json> images;  ///< {"type": "image_url", ...} parts, in reading order
  /// Interrupted agents leave calls without results and results without calls: show an empty result
  /// and plain text instead of refusing.
  bool lenient_pairing = false;
  bool repair = true;  ///< mend malformed calls in the answer (StreamParserOptions::repair)
};

/// Reads the body of POST /chat/completions (spec api.md section 2.1) as far as text goes. Keys it
/// does not know, sampling parameters among them, are left to others. Throws RequestError.
ChatRequest parse_chat_request(const Json& body, const PromptProfile& profile);

}  // namespace lethe
