#include "text/golden_rows.h"

#include <fmt/format.h>

#include <fstream>

#include "text/completion_parser.h"
#include "text/detokenizer.h"
#include "text/prompt_encoder.h"
#include "text/request_renderer.h"
#include "text/stream_parser.h"

namespace lethe::testing {
namespace {

using Fault = std::optional<std::string>;

Fault differ(std::string_view what, std::string_view expected, std::string_view found) {
  if (expected == found) return std::nullopt;
  size_t at = 0;
  while (at < expected.size() && at < found.size() && expected[at] == found[at]) ++at;
  const size_t from = at > 40 ? at - 40 : 0;
  return fmt::format("{} differs at byte {}:\n  expected ...{}\n  found    ...{}", what, at,
                     expected.substr(from, 160), found.substr(from, 160));
}

std::string text_at(const Json& row, const char* key) {
  return row.at(key).get<std::string>();
}

Fault check_encode(const Json& row, const PromptProfile& profile) {
  Json messages = row.at("messages");
  if (row.contains("tools")) messages.at(0)["tools"] = row["tools"];
  try {
    const EncodedMessages encoded =
        encode_messages(profile, messages, parse_encode_options(row.at("options")));
    if (row.contains("expected_error")) {
      return fmt::format("expected an error, found the prompt {}", encoded.prompt.text());
    }
    if (row.contains("expected_images") &&
        row["expected_images"].get<size_t>() != encoded.images.size()) {
      return fmt::format("expected {} images, found {}", dump_json(row["expected_images"]),
                         encoded.images.size());
    }
    return differ("prompt", text_at(row, "expected_prompt"), encoded.prompt.text());
  } catch (const PromptError& error) {
    if (row.contains("expected_error")) return std::nullopt;
    return fmt::format("unexpected error: {}", error.what());
  }
}

Json as_json(const ParsedCompletion& parsed) {
  Json calls = Json::array();
  for (const ParsedCall& call : parsed.tool_calls) {
    Json function = Json::object();
    function["name"] = call.name;
    function["arguments"] = call.arguments;
    Json item = Json::object();
    item["type"] = "function";
    item["function"] = function;
    calls.push_back(item);
  }
  Json out = Json::object();
  out["role"] = "assistant";
  out["content"] = parsed.content;
  out["reasoning_content"] = parsed.reasoning;
  out["tool_calls"] = calls;
  return out;
}

Fault check_parse(const Json& row, const PromptProfile& profile) {
  try {
    const bool thinking = text_at(row, "mode") == "thinking";
    const Json found = as_json(parse_completion(profile, text_at(row, "completion"), thinking));
    if (row.contains("expected_error")) {
      return fmt::format("expected an error, found {}", dump_json(found));
    }
    return differ("message", dump_json(row.at("expected")), dump_json(found));
  } catch (const PromptError& error) {
    if (row.contains("expected_error")) return std::nullopt;
    return fmt::format("unexpected error: {}", error.what());
  }
}

std::string finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::tool_calls:
      return "tool_calls";
  }
  return "?";
}

StreamParserOptions tolerant_options(const Json& options) {
  StreamParserOptions out;
  out.start = options.value("start_inside_tool_block", false) ? StreamStart::tool_block
              : options.value("thinking", false)              ? StreamStart::reasoning
                                                              : StreamStart::answer;
  out.parse_tools = options.value("parse_tools", true);
  out.json_mode = options.value("parse_json", false);
  if (options.contains("stop")) out.stop = options["stop"].get<std::vector<std::string>>();
  return out;
}

/// The message that the events of a stream add up to, in the schema of the golden files.
Json parse_stream(const Json& options, const std::vector<std::string_view>& pieces) {
  StreamParser parser(tolerant_options(options));
  std::vector<StreamEvent> events;
  for (const std::string_view piece : pieces) parser.feed(piece, events);
  const bool is_length = options.value("backend_finish", std::string("stop")) == "length";
  const StreamFinish finish =
      parser.finish(is_length ? FinishReason::length : FinishReason::stop, events);

  std::string reasoning, content;
  Json calls = Json::array();
  for (const StreamEvent& event : events) {
    switch (event.kind) {
      case StreamEvent::Kind::reasoning:
        reasoning += event.text;
        break;
      case StreamEvent::Kind::content:
        content += event.text;
        break;
      case StreamEvent::Kind::call_begin: {
        Json call = Json::object();
        call["name"] = event.text;
        call["arguments"] = "";
        calls.push_back(call);
        break;
      }
      case StreamEvent::Kind::call_arguments:
        calls.at(event.call_index)["arguments"].get_ref<std::string&>() += event.text;
        break;
      case StreamEvent::Kind::call_end:
        break;
    }
  }
  Json out = Json::object();
  out["reasoning_content"] = reasoning;
  out["content"] = content;
  out["tool_calls"] = calls;
  out["finish_reason"] = finish_name(finish.reason);
  out["stop_sequence"] = finish.stop_sequence ? Json(*finish.stop_sequence) : Json(nullptr);
  return out;
}

std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    out.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

Fault check_tolerant(const Json& row) {
  const std::string completion = text_at(row, "completion");
  const std::string_view text = completion;
  const Json& options = row.at("options");
  const std::string expected = dump_json(row.at("expected"));
  if (auto fault = differ("whole", expected, dump_json(parse_stream(options, {text}))))
    return fault;
  if (auto fault =
          differ("by code points", expected, dump_json(parse_stream(options, code_points(text))))) {
    return fault;
  }
  for (size_t at = 0; at <= text.size(); ++at) {
    const Json found = parse_stream(options, {text.substr(0, at), text.substr(at)});
    if (auto fault = differ(fmt::format("cut at {}", at), expected, dump_json(found))) return fault;
  }
  return std::nullopt;
}

Fault check_api_render(const Json& row, const PromptProfile& profile) {
  const int expected_status = row.value("expected_status", 200);
  try {
    const RenderedRequest rendered =
        render_request(parse_chat_request(row.at("request"), profile), profile);
    if (expected_status != 200) {
      return fmt::format("expected status {}, found the prompt {}", expected_status,
                         rendered.prompt.text());
    }
    return differ("prompt", text_at(row, "expected_prompt"), rendered.prompt.text());
  } catch (const RequestError& error) {
    if (error.status() == expected_status) return std::nullopt;
    return fmt::format("unexpected status {}: {}", error.status(), error.what());
  }
}

}  // namespace

std::vector<GoldenRow> read_golden_rows(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw IoError("{}: cannot be read", path);
  std::vector<GoldenRow> rows;
  std::string line;
  while (std::getline(file, line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Json row = parse_json(line);
    std::string id =
        row.contains("id") ? text_at(row, "id") : fmt::format("{}:{}", path, rows.size() + 1);
    rows.push_back({std::move(id), std::move(row)});
  }
  return rows;
}

Fault check_encoding_row(const Json& row) {
  const std::string kind = text_at(row, "kind");
  const PromptProfile& profile = prompt_profile(text_at(row, "variant"));
  if (kind == "encode") return check_encode(row, profile);
  if (kind == "parse") return check_parse(row, profile);
  if (kind == "parse_tolerant") return check_tolerant(row);
  if (kind == "api_render") return check_api_render(row, profile);
  return fmt::format("kind '{}' is not known here", kind);
}

bool is_tokenizer_row(const Json& row) {
  return row.contains("text") && row.contains("ids");
}

Fault check_tokenizer_row(const Json& row, const Tokenizer& tokenizer) {
  const std::string text = text_at(row, "text");
  const auto expected = row.at("ids").get<std::vector<int32_t>>();
  const std::vector<int32_t> found = tokenizer.encode(text, {.parse_special = true});
  if (found != expected) {
    return differ("ids", dump_json(row["ids"]), dump_json(Json(found)));
  }
  if (auto fault = differ("decoded text", text, tokenizer.decode(expected))) return fault;
  Detokenizer detokenizer(tokenizer);
  std::string streamed;
  for (const int32_t id : expected) streamed += detokenizer.push(id);
  return differ("text decoded token by token", text, streamed + detokenizer.finish());
}

}  // namespace lethe::testing
