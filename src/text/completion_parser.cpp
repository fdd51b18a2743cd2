#include "text/completion_parser.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <unordered_set>

#include "base/json_py.h"
#include "base/printable.h"
#include "text/prompt_texts.h"

namespace lethe {
namespace {

using namespace prompt_texts;

/// Text up to the first of some marks, and which one it was (none: the rest of the text).
struct Piece {
  std::string_view text;
  std::optional<size_t> mark;
};

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  /// One pass over the text, whichever marks are missing.
  Piece read_until(std::initializer_list<std::string_view> marks) {
    for (size_t at = at_; at < text_.size(); ++at) {
      size_t which = 0;
      for (const std::string_view mark : marks) {
        if (text_[at] == mark.front() && text_.substr(at).starts_with(mark)) {
          const Piece piece{text_.substr(at_, at - at_), which};
          at_ = at + mark.size();
          return piece;
        }
        ++which;
      }
    }
    const Piece rest{text_.substr(at_), std::nullopt};
    at_ = text_.size();
    return rest;
  }

  bool at_end() const { return at_ == text_.size(); }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::string_view without_leading_space(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n\r\f\v\x1c\x1d\x1e\x1f");
  return text.substr(std::min(first, text.size()));
}

/// Reads the calls of one block. Each method takes up where the one before stopped.
class CallReader {
 public:
  CallReader(const PromptProfile& profile, Cursor& cursor)
      : open_invoke_(fmt::format("<{}{}", kDsml, profile.invoke_tag)),
        close_invoke_(fmt::format("</{}{}", kDsml, profile.invoke_tag)),
        open_parameter_(fmt::format("<{}{}", kDsml, profile.parameter_tag)),
        // Without its "<", which must then end the value.
        close_parameter_(fmt::format("/{}{}", kDsml, profile.parameter_tag)),
        close_block_(fmt::format("</{}{}>", kDsml, profile.block_tag)),
        cursor_(cursor) {}

  std::vector<ParsedCall> read() {
    std::vector<ParsedCall> calls;
    while (!cursor_.at_end()) {
      const Piece piece = cursor_.read_until({open_invoke_, close_block_});
      expect_tag_end(piece.text, "a call or the end of the block");
      if (piece.mark == 1) break;
      if (!piece.mark) throw PromptError("completion: the block of tool calls does not end");
      calls.push_back(read_call());
    }
    return calls;
  }

 private:
  static void expect_tag_end(std::string_view text, std::string_view before) {
    if (text == ">\n") return;
    throw PromptError("completion: expected '>' and a new line before {}, found '{}'", before,
                      text);
  }

  ParsedCall read_call() {
    Piece piece = cursor_.read_until({open_parameter_, close_invoke_});
    ParsedCall call{.name = call_name(piece.text), .arguments = "{"};
    std::unordered_set<std::string_view> keys;
    while (piece.mark == 0) {
      append_parameter(call.arguments, keys);
      piece = cursor_.read_until({open_parameter_, close_invoke_});
      expect_tag_end(piece.text, "a parameter or the end of the call");
    }
    call.arguments += '}';
    return call;
  }

  /// ` name="NAME">` and one or two newlines.
  static std::string call_name(std::string_view text) {
    std::string_view name = without_leading_space(text);
    if (!take_prefix(name, "name=\"") ||
        !(take_suffix(name, "\">\n\n") || take_suffix(name, "\">\n"))) {
      throw PromptError("completion: expected the name of a call, found '{}'", printable(text));
    }
    return std::string(name);
  }

  /// ` name="KEY" string="true|false">VALUE<`, the closer having been read.
  void append_parameter(std::string& arguments, std::unordered_set<std::string_view>& keys) {
    static constexpr std::string_view kTypeBegin = "\" string=\"";
    const std::string_view text = cursor_.read_until({close_parameter_}).text;
    const auto refuse = [&]() {
      throw PromptError("completion: expected a parameter with its name and type, found '{}'",
                        printable(text));
    };
    std::string_view rest = text;
    if (!take_prefix(rest, " name=\"")) refuse();
    if (!take_suffix(rest, "<") && !take_suffix(rest, "<\n")) refuse();
    for (size_t at = rest.find(kTypeBegin); at != std::string_view::npos;
         at = rest.find(kTypeBegin, at + 1)) {
      std::string_view value = rest.substr(at + kTypeBegin.size());
      const bool is_string = take_prefix(value, "true\">");
      if (!is_string && !take_prefix(value, "false\">")) continue;
      const std::string_view key = rest.substr(0, at);
      if (!keys.insert(key).second) {
        throw PromptError("completion: parameter '{}' stands twice in one call", printable(key));
      }
      if (keys.size() > 1) arguments += ", ";
      append_json_string(arguments, key);
      arguments += ": ";
      if (is_string) {
        append_json_string(arguments, value);
      } else {
        arguments += value;
      }
      return;
    }
    refuse();
  }

  std::string open_invoke_, close_invoke_, open_parameter_, close_parameter_, close_block_;
  Cursor& cursor_;
};

void refuse_special_tokens(std::string_view text, std::string_view where) {
  for (const std::string_view token : {kBos, kEos, kThinkBegin, kThinkEnd, kDsml}) {
    if (text.find(token) == std::string_view::npos) continue;
    throw PromptError("completion: its {} holds the special token {}", where, token);
  }
}

}  // namespace

ParsedCompletion parse_completion(const PromptProfile& profile, std::string_view text,
                                  bool thinking) {
  const std::string open_block = fmt::format("\n\n<{}{}", kDsml, profile.block_tag);
  ParsedCompletion out;
  Cursor cursor(text);
  if (thinking) {
    const Piece piece = cursor.read_until({kThinkEnd, open_block});
    if (piece.mark != 0)
      throw PromptError("completion: the reasoning does not end with {}", kThinkEnd);
    out.reasoning = piece.text;
  }
  const Piece piece = cursor.read_until({kEos, open_block});
  out.content = piece.text;
  if (!piece.mark) throw PromptError("completion: it does not end with {}", kEos);
  if (piece.mark == 1) {
    out.tool_calls = CallReader(profile, cursor).read();
    // The block's closer is enough; the end token may be missing behind it.
    if (!cursor.read_until({kEos}).text.empty()) {
      throw PromptError("completion: text after the tool calls");
    }
  }
  if (!cursor.at_end()) throw PromptError("completion: text after {}", kEos);
  refuse_special_tokens(out.content, "content");
  refuse_special_tokens(out.reasoning, "reasoning");
  return out;
}

}  // namespace lethe
