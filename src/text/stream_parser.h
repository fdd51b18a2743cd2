#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/marker_matcher.h"

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
  std::optional<std::string> stop_sequence;  ///< the stop string that ended the answer
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

  /// A stop string was found: no more text matters.
  bool stopped() const noexcept { return stop_sequence_.has_value(); }

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
    name_begin,
    name_end,
    key_begin,
    key_end,
    string_begin,
    value_end,
    arguments_end,
  };
  struct Marker {
    MarkerMatcher matcher;
    std::string text;
    State next;
    Action action;
  };
  using Markers = std::vector<Marker>;

  void add_text_markers();
  void add_call_markers();
  void add(State state, std::string_view marker, State next, Action action = Action::skip,
           bool takes_newlines = false);
  Markers& markers() { return markers_[static_cast<size_t>(state_)]; }

  void take_byte(char byte, std::vector<StreamEvent>& events);
  const Marker* feed_markers(char byte);
  void enter(State state, bool skips_newlines);
  void perform(const Marker& marker, std::vector<StreamEvent>& events);
  void release(size_t count, std::vector<StreamEvent>& events);
  void emit(StreamEvent::Kind kind, std::string_view text, std::vector<StreamEvent>& events);
  void flush_partial(std::vector<StreamEvent>& events);
  void push(StreamEvent::Kind kind, std::string text, std::vector<StreamEvent>& events);

  StreamParserOptions options_;
  std::vector<Markers> markers_;  // of each state
  State state_ = State::finished;
  bool skips_newlines_ = false;  // no character of this reasoning or answer came yet
  bool blanked_ = false;         // the space for this stretch of blanked text is out
  bool is_string_ = false;       // of the current value
  bool has_parameter_ = false;   // the current call has one
  std::string held_;             // not released yet: may belong to a marker
  std::string name_;             // of the call being read
  size_t num_calls_ = 0;
  std::optional<std::string> stop_sequence_;
  StreamEvent::Kind partial_kind_ = StreamEvent::Kind::content;
  std::string partial_;  // first bytes of a code point, waiting for the rest
};

}  // namespace lethe
