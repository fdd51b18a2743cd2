#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json_py.h"
#include "text/stream_parser.h"

namespace {

using Kind = lethe::StreamEvent::Kind;

/// Everything that a client would have at the end, as one text; checks the order of the events.
std::string joined(const std::vector<lethe::StreamEvent>& events,
                   const lethe::StreamFinish& finish) {
  std::string texts[2], calls;
  size_t num_begun = 0, num_ended = 0;
  for (const lethe::StreamEvent& event : events) {
    switch (event.kind) {
      case Kind::reasoning:
        texts[0] += event.text;
        break;
      case Kind::content:
        texts[1] += event.text;
        break;
      case Kind::call_begin:
        LETHE_CHECK(num_begun == num_ended && event.call_index == num_begun);
        ++num_begun;
        calls += "\nbegin " + event.text + "\n";
        break;
      case Kind::call_arguments:
        LETHE_CHECK(event.call_index + 1 == num_begun && num_ended + 1 == num_begun);
        calls += event.text;
        break;
      case Kind::call_end:
        LETHE_CHECK(event.call_index + 1 == num_begun);
        ++num_ended;
        break;
    }
  }
  return texts[0] + "\nanswer\n" + texts[1] + calls + std::to_string(num_ended) +
         std::to_string(static_cast<int>(finish.reason)) + finish.stop_sequence.value_or("none");
}

std::string parse(const lethe::StreamParserOptions& options, std::string_view text, size_t step) {
  lethe::StreamParser parser(options);
  std::vector<lethe::StreamEvent> events;
  for (size_t at = 0; at < text.size(); at += step) parser.feed(text.substr(at, step), events);
  const auto finish = parser.finish(lethe::FinishReason::stop, events);
  return joined(events, finish);
}

}  // namespace

/// The first bytes choose the options; however the rest is cut, the result is the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  lethe::StreamParserOptions options{.start = static_cast<lethe::StreamStart>(data[0] % 3),
                                     .continues_text = (data[0] & 8) != 0,
                                     .parse_tools = (data[0] & 16) == 0,
                                     .json_mode = (data[0] & 32) != 0};
  const std::string_view text(reinterpret_cast<const char*>(data + 4), size - 4);
  if ((data[0] & 128) != 0) {
    options.repair = true;
    options.tools.emplace_back("f", lethe::parse_json(R"({"properties": {"a": {"type": "integer"},
        "k": {"type": "string"}, "o": {"anyOf": [{"type": "object"}, {"type": "null"}]}}})"));
  }
  if ((data[0] & 64) != 0) options.stop = {"END", std::string(text.substr(0, data[1] % 8))};
  const std::string whole = parse(options, text, text.size() + 1);
  LETHE_CHECK(parse(options, text, 1) == whole);
  LETHE_CHECK(parse(options, text, data[2] % 32 + 1u) == whole);
  return 0;
}
