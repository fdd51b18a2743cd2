#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/prompt_profile.h"

namespace lethe {

/// A call as a completion holds it. `arguments` is JSON text put together from the parameters; what
/// the model wrote as a non-string value stands in it as written, valid JSON or not.
struct ParsedCall {
  std::string name;
  std::string arguments;
  bool operator==(const ParsedCall&) const = default;
};

struct ParsedCompletion {
  std::string reasoning;  ///< empty in chat mode
  std::string content;
  std::vector<ParsedCall> tool_calls;
};

/// Takes apart a whole completion, end token included, exactly as the checkpoint's own parser does
/// (spec encoding.md section 7): nothing is trimmed, anything out of form is an error. For output
/// of a server use StreamParser, which never fails. Throws PromptError. Pure; any thread.
ParsedCompletion parse_completion(const PromptProfile& profile, std::string_view text,
                                  bool thinking);

}  // namespace lethe
