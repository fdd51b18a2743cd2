#include <string_view>

#include "base/check.h"
#include "text/completion_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto& profile = (data[0] & 1) != 0 ? lethe::kPromptV41 : lethe::kPromptV4Ga;
  try {
    const auto parsed = lethe::parse_completion(profile, text, (data[0] & 2) != 0);
    LETHE_CHECK(text.find(parsed.reasoning) == 0);
    LETHE_CHECK(text.find(parsed.content) != std::string_view::npos);
    for (const auto& call : parsed.tool_calls) {
      LETHE_CHECK(text.find(call.name) != std::string_view::npos);
      LETHE_CHECK(call.arguments.starts_with('{') && call.arguments.ends_with('}'));
    }
  } catch (const lethe::PromptError&) {
  }
  return 0;
}
