#pragma once

#include <string>

#include "text/chat_request.h"

namespace lethe::apps {

/// A conversation as a file: the body of a POST /chat/completions, so that a server takes it too.
/// `model` is the API's name of the model.
std::string saved_chat_json(const ChatRequest& request, const std::string& model);

/// Reads one. Throws UsageError naming the place: not JSON, no such body, or one that a person at a
/// terminal cannot continue (tools, images, JSON mode).
ChatRequest parse_saved_chat(const std::string& json, const PromptProfile& profile);

/// The same in files; `path` may begin with ~/. An existing file that is no conversation is not
/// overwritten. Throws UsageError, IoError.
void save_chat(const std::string& path, const ChatRequest& request, const std::string& model,
               const PromptProfile& profile);
ChatRequest load_chat(const std::string& path, const PromptProfile& profile);

/// `first` where it says something, else `second`.
RequestParameters merged_parameters(RequestParameters first, const RequestParameters& second);

}  // namespace lethe::apps
