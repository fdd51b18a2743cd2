#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "text/prompt_encoder.h"
#include "text/request_renderer.h"

namespace {

void check_segments(const lethe::Prompt& prompt) {
  const auto& segments = prompt.segments();
  for (size_t i = 0; i < segments.size(); ++i) {
    LETHE_CHECK(!segments[i].text.empty());
    LETHE_CHECK(i == 0 || segments[i].is_template != segments[i - 1].is_template);
  }
}

/// As a request body ("level B").
void render(const lethe::Json& body, const lethe::PromptProfile& profile, bool lenient) {
  try {
    lethe::ChatRequest request = lethe::parse_chat_request(body, profile);
    request.lenient_pairing = lenient;
    check_segments(lethe::render_request(request, profile).prompt);
  } catch (const lethe::RequestError& error) {
    LETHE_CHECK(error.status() == 400 || error.status() == 422);
  }
}

/// As a conversation with options ("level A").
void encode(const lethe::Json& body, const lethe::PromptProfile& profile) {
  try {
    const auto options = lethe::parse_encode_options(body.value("options", lethe::Json::object()));
    check_segments(encode_messages(profile, body.value("messages", lethe::Json()), options).prompt);
  } catch (const lethe::PromptError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  lethe::Json body;
  try {
    body = lethe::parse_json(text);
  } catch (const lethe::JsonError&) {
    return 0;
  }
  for (const auto* profile : {&lethe::kPromptV4Preview, &lethe::kPromptV4Ga, &lethe::kPromptV41}) {
    render(body, *profile, (data[0] & 1) != 0);
    if (body.is_object()) encode(body, *profile);
  }
  return 0;
}
