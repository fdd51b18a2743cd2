#include "text/chat_message.h"

#include "text/prompt_texts.h"

namespace lethe {
namespace {

using prompt_texts::kBlankLine;
using prompt_texts::kImage;

const Json kNull;

const Json& member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

/// Python's truth of a value.
bool is_truthy(const Json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

/// A string, or empty for null and absent.
std::string text_member(const Json& object, const char* key) {
  const Json& value = member(object, key);
  if (value.is_null()) return {};
  if (!value.is_string()) throw PromptError("message: '{}' must be a string", key);
  return value.get<std::string>();
}

std::string type_of(const Json& part) {
  const Json& type = member(part, "type");
  return type.is_string() ? type.get<std::string>() : dump_json(type);
}

const Json& checked_part(const Json& part) {
  if (!part.is_object()) throw PromptError("message: a part of a content list must be an object");
  return part;
}

void refuse_placeholder(std::string_view text, std::string_view where) {
  if (text.find(kImage) == std::string_view::npos) return;
  throw PromptError(
      "message: its {} holds the literal text {}, which stands for an image; give images as parts "
      "of a content list",
      where, kImage);
}

/// The image's record: where its data come from.
Json image_record(const Json& part) {
  Json record{{"type", "image"}};
  bool has_source = false;
  const auto put = [&](const char* key, const Json& value) {
    record[key] = value;
    has_source = has_source || is_truthy(value);
  };
  if (type_of(part) == "image_url") {
    const Json& url = member(part, "image_url");
    put("url", url.is_object() ? member(url, "url") : url);
  } else {
    for (const char* key : {"source", "url", "data"}) {
      if (part.contains(key)) put(key, part[key]);
    }
  }
  if (!has_source) throw PromptError("message: an image part without a source");
  return record;
}

/// Joins pieces by blank lines, which belong to the client's text.
class Joiner {
 public:
  explicit Joiner(Prompt& out) : out_(out) {}
  Prompt& next() {
    if (!first_) out_.add_client(kBlankLine);
    first_ = false;
    return out_;
  }

 private:
  Prompt& out_;
  bool first_ = true;
};

/// Reads content lists. What becomes of parts that are neither text nor image depends on where they
/// stand: V4.1 leaves them out of a tool message's own list, elsewhere they are named.
class PartReader {
 public:
  PartReader(bool takes_images, std::vector<Json>& images)
      : takes_images_(takes_images), images_(images) {}

  Prompt tool_result(const Json& parts, bool names_unsupported) {
    Prompt out;
    Joiner joiner(out);
    for (const Json& part : parts) {
      checked_part(part);
      if (is_image(part)) {
        add_image(joiner.next(), part);
      } else if (type_of(part) == "text") {
        joiner.next().add_client(part_text(part));
      } else if (names_unsupported) {
        joiner.next().add_client("[Unsupported " + type_of(part) + "]");
      }
    }
    return out;
  }

  std::vector<ContentBlock> blocks(const Json& parts) {
    std::vector<ContentBlock> out;
    for (const Json& part : parts) out.push_back(block(checked_part(part)));
    return out;
  }

 private:
  bool is_image(const Json& part) const {
    const std::string type = type_of(part);
    return takes_images_ && (type == "image" || type == "image_url");
  }

  void add_image(Prompt& out, const Json& part) {
    images_.push_back(image_record(part));
    out.add_template(kImage);
  }

  std::string part_text(const Json& part) const {
    std::string text = text_member(part, "text");
    if (takes_images_) refuse_placeholder(text, "text");
    return text;
  }

  ContentBlock block(const Json& part) {
    ContentBlock out;
    if (is_image(part)) {
      add_image(out.content, part);
    } else if (type_of(part) == "text") {
      out.content = Prompt::client(part_text(part));
    } else if (type_of(part) == "tool_result") {
      out.is_tool_result = true;
      out.tool_call_id = text_member(part, "tool_use_id");
      const Json& content = member(part, "content");
      out.content = content.is_array() ? tool_result(content, true)
                                       : Prompt::client(text_member(part, "content"));
    } else {
      out.content = Prompt::client("[Unsupported " + type_of(part) + "]");
    }
    return out;
  }

  bool takes_images_;
  std::vector<Json>& images_;
};

void read_v4_content(const Json& message, ChatMessage& out, std::vector<Json>& images) {
  const Json& content = member(message, "content");
  if (content.is_array() && out.role == "tool") {
    out.content = PartReader(false, images).tool_result(content, true);
  } else {
    out.content = Prompt::client(text_member(message, "content"));
  }
}

void read_v41_content(const Json& message, ChatMessage& out, std::vector<Json>& images) {
  const Json& content = member(message, "content");
  const Json& given_blocks = member(message, "content_blocks");
  const Json& list = given_blocks.is_null() && content.is_array() ? content : given_blocks;
  if (content.is_string()) {
    refuse_placeholder(content.get_ref<const std::string&>(), "content");
    out.content = Prompt::client(content.get_ref<const std::string&>());
  }
  refuse_placeholder(out.reasoning, "reasoning_content");
  if (list.is_null()) {
    if (!content.is_string()) text_member(message, "content");
    return;
  }
  if (!list.is_array()) throw PromptError("message: 'content_blocks' must be a list");
  if (out.role == "user") {
    out.blocks = PartReader(true, images).blocks(list);
  } else if (!content.is_string()) {
    out.content = PartReader(true, images).tool_result(list, false);
  }
}

const Json& function_of(const Json& item, const char* what) {
  const Json& function = member(item, "function");
  if (!item.is_object() || !function.is_object()) {
    throw PromptError("message: each of '{}' must be an object with a 'function'", what);
  }
  if (!member(function, "name").is_string()) {
    throw PromptError("message: a function in '{}' has no name", what);
  }
  return function;
}

/// A namespace stands beside `function`, or in it.
const Json& namespace_of(const Json& item, const Json& function) {
  const Json& beside = member(item, "namespace");
  return beside.is_null() ? member(function, "namespace") : beside;
}

Json tool_schema(const Json& tool, const PromptProfile& profile) {
  Json function = function_of(tool, "tools");
  if (!profile.is_v41) return function;
  const Json space = namespace_of(tool, function);
  function["name"] = qualified_tool_name(function["name"].get<std::string>(), space);
  function.erase("namespace");
  if (space.is_object() && is_truthy(member(space, "description"))) {
    const Json& own = member(function, "description");
    std::string text = text_member(space, "description") + "\n";
    if (is_truthy(own)) text += text_member(function, "description");
    function["description"] = text;
  }
  return function;
}

ToolCall read_call(const Json& call, const PromptProfile& profile) {
  const Json& function = function_of(call, "tool_calls");
  if (!function.contains("arguments")) {
    throw PromptError("message: a call in 'tool_calls' has no 'arguments'");
  }
  ToolCall out;
  out.id = text_member(call, "id");
  if (out.id.empty()) out.id = text_member(function, "id");
  out.name = function["name"].get<std::string>();
  if (profile.is_v41) out.name = qualified_tool_name(out.name, namespace_of(call, function));
  out.arguments = function["arguments"];
  return out;
}

/// A list; every false value is an empty one.
const Json& list_member(const Json& message, const char* key) {
  const Json& value = member(message, key);
  if (!is_truthy(value)) return kNull;
  if (!value.is_array()) throw PromptError("message: '{}' must be a list", key);
  return value;
}

}  // namespace

ChatMessage parse_chat_message(const Json& message, const PromptProfile& profile,
                               std::vector<Json>& images) {
  if (!message.is_object()) throw PromptError("messages: each must be an object");
  ChatMessage out;
  out.role = text_member(message, "role");
  out.reasoning = text_member(message, "reasoning_content");
  if (profile.is_v41) {
    read_v41_content(message, out, images);
  } else {
    read_v4_content(message, out, images);
  }
  for (const Json& tool : list_member(message, "tools")) {
    out.tools.push_back(tool_schema(tool, profile));
  }
  for (const Json& call : list_member(message, "tool_calls")) {
    out.tool_calls.push_back(read_call(call, profile));
  }
  out.tool_call_id = text_member(message, "tool_call_id");
  if (is_truthy(member(message, "response_format"))) {
    out.response_format = message["response_format"];
  }
  if (!member(message, "task").is_null()) out.task = text_member(message, "task");
  out.without_eos = is_truthy(member(message, "wo_eos"));
  return out;
}

}  // namespace lethe
