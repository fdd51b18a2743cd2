#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/marker_matcher.h"
#include "text/tool_signature.h"

namespace lethe {

/// Where the text begins: the prompt's end decides it.
enum class StreamStart { reasoning, answer, tool_block };

struct StreamParserOptions {
  StreamStart start = StreamStart::answer;
  /// The prompt already holds the beginning of the reasoning or answer: newlines there are text.
  bool continues_text = false;
  bool parse_tools = true;  ///< tools are declared; otherwise markup is plain text
  bool json_mode = false;   ///< the answer is one JSON document; text around it is blanked
  std::vector<std::string> stop = {};  ///< looked for in the answer only; empty ones are ignored
  /// Mend what models are seen to get wrong (spec section 9.1): other bars or quotes in the markup,
  /// a missing string attribute, values that do not fit the schema, calls of tools that nobody
  /// declared (they stay text), a call that the model did not finish. Values that are not strings
  /// then arrive in one piece.
  bool repair = false;
  std::vector<ToolSignature> tools = {};  ///< the declared tools, for repair
};

/// One piece of output. `text` is whole code points, unless the stream itself is not UTF-8.
struct StreamEvent {
  enum class Kind {
    reasoning,       ///< text: more of the reasoning
    content,         ///< text: more of the answer
    call_begin,      ///< text: the name of a tool call, complete
    call_arguments,  ///< text: more of its arguments, as JSON text
    call_end,        ///< the call is complete; no text
  };
  Kind kind;
  std::string text;
  size_t call_index = 0;  ///< of the calls, counted from 0

  bool operator==(const StreamEvent&) const = default;
};

enum class FinishReason { stop, length, tool_calls };

struct StreamFinish {
  FinishReason reason;
  /// Calls without their call_end. With repair, such a call at a normal end (reason stop or
  /// tool_calls) is not meant to be made.
  size_t num_unfinished_calls = 0;
  std::optional<std::string> stop_sequence = {};  ///< the stop string that ended the answer
};

/// Takes generated text apart while it arrives: reasoning, answer, tool calls of either generation
/// of tags (spec encoding.md section 9, "level B"). Never fails, on any bytes; what the events join
/// to does not depend on how the text is cut; linear time. One thread.
class StreamParser {
 public:
  explicit StreamParser(StreamParserOptions options);

  /// Takes more text and appends what became certain to `events`. Text that may be the beginning of
  /// a marker is held back.
  void feed(std::string_view text, std::vector<StreamEvent>& events);

  /// Ends the text: releases what was held back. `engine_reason` is stop (the model ended its turn)
  /// or length. Call once, last.
  StreamFinish finish(FinishReason engine_reason, std::vector<StreamEvent>& events);

  /// Whether what comes next is still reasoning.
  bool in_reasoning() const noexcept { return state_ == State::reasoning; }

  /// A stop string was found, or the calls are complete: no more text matters.
  bool done() const noexcept { return state_ == State::finished; }

 private:
  enum class State {
    reasoning,
    answer,
    json_document,
    after_json,
    calls,
    name,
    arguments,
    key,
    type,
    value,
    finished,
  };
  enum class Action {
    skip,
    stop,
    keep_marker,
    markup_begin,
    name_begin,
    name_end,
    key_begin,
    key_end,
    string_begin,
    json_begin,
    unmarked_begin,
    value_end,
    arguments_end,
  };
  struct Marker {
    MarkerMatcher matcher;
    std::string text;
    State next;
    Action action;
    size_t dialect = 0;      ///< of a closer: counts only where the calls began in that dialect
    size_t replay_size = 0;  ///< bytes at its end that belong to the next state
  };
  using Markers = std::vector<Marker>;

  void add_text_markers();
  void add_call_markers();
  void add_dialect_markers();
  void add_quote_markers();
  Marker& add(State state, std::string_view marker, State next, Action action = Action::skip,
              bool takes_newlines = false);
  Markers& markers() { return markers_[static_cast<size_t>(state_)]; }

  void take_byte(char byte, std::vector<StreamEvent>& events);
  const Marker* feed_markers(char byte);
  bool applies(const Marker& marker) const;
  void enter(State state, bool skips_newlines);
  void perform(const Marker& marker, std::string_view matched, std::vector<StreamEvent>& events);
  void begin_markup(const Marker& marker, std::string_view matched);
  bool is_declared(std::string_view name) const;
  const ToolSignature* find_tool(std::string_view name) const;
  JsonTypes allowed_types() const;
  void return_markup(std::vector<StreamEvent>& events);
  void begin_call(std::vector<StreamEvent>& events);
  void begin_value(WrittenAs written, std::vector<StreamEvent>& events);
  void release_value(std::string_view text, std::vector<StreamEvent>& events);
  void end_value(std::vector<StreamEvent>& events);
  void release(size_t count, std::vector<StreamEvent>& events);
  void emit(StreamEvent::Kind kind, std::string_view text, std::vector<StreamEvent>& events);
  void flush_partial(std::vector<StreamEvent>& events);
  void push(StreamEvent::Kind kind, std::string text, std::vector<StreamEvent>& events);

  StreamParserOptions options_;
  std::vector<Markers> markers_;  // of each state
  State state_ = State::finished;
  bool skips_newlines_ = false;  // no character of this reasoning or answer came yet
  bool blanked_ = false;         // the space for this stretch of blanked text is out
  std::string held_;             // not released yet: may belong to a marker

  size_t dialect_ = 0;                     // of the markup being read
  State markup_from_ = State::answer;      // where the markup began
  std::optional<std::string> markup_;      // as written, until its first call is certain
  std::string name_;                       // of the call being read
  std::string key_;                        // of the parameter being read
  const ToolSignature* tool_ = nullptr;    // declared, of the call being read
  bool has_parameter_ = false;             // the current call has one
  WrittenAs written_ = WrittenAs::string;  // the current value
  std::optional<std::string> value_;       // kept back to be mended as a whole
  size_t num_calls_ = 0;
  size_t num_ended_ = 0;
  std::optional<std::string> stop_sequence_;
  StreamEvent::Kind partial_kind_ = StreamEvent::Kind::content;
  std::string partial_;  // first bytes of a code point, waiting for the rest
};

}  // namespace lethe
