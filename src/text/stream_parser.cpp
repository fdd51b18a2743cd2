#include "text/stream_parser.h"

#include <algorithm>

#include "base/json_py.h"
#include "base/utf8.h"
#include "text/prompt_texts.h"

namespace lethe {
namespace {

using Kind = StreamEvent::Kind;

constexpr std::string_view kMarkupBegin = "<｜DSML｜";
constexpr std::string_view kMarkupEnd = "</｜DSML｜";

}  // namespace

StreamParser::StreamParser(StreamParserOptions options)
    : options_(std::move(options)), markers_(static_cast<size_t>(State::finished) + 1) {
  add_text_markers();
  add_call_markers();
  switch (options_.start) {
    case StreamStart::reasoning:
      enter(State::reasoning, !options_.continues_text);
      break;
    case StreamStart::answer:
      enter(State::answer, !options_.continues_text);
      break;
    case StreamStart::tool_block:
      enter(State::calls, false);
      break;
  }
}

void StreamParser::add(State state, std::string_view marker, State next, Action action,
                       bool takes_newlines) {
  markers_[static_cast<size_t>(state)].push_back(
      {MarkerMatcher(marker, takes_newlines), std::string(marker), next, action});
}

void StreamParser::add_text_markers() {
  add(State::reasoning, prompt_texts::kThinkEnd, State::answer, Action::skip, true);
  add(State::answer, prompt_texts::kThinkEnd, State::answer);
  if (options_.parse_tools) {
    for (const State state : {State::reasoning, State::answer, State::after_json}) {
      add(state, kMarkupBegin, State::calls, Action::skip, true);
    }
  }
  if (options_.json_mode) {
    add(State::answer, "```json\n", State::json_document);
    add(State::answer, "```\n", State::json_document);
    add(State::answer, "{", State::json_document, Action::keep_marker);
    add(State::answer, "[", State::json_document, Action::keep_marker);
    add(State::json_document, "\n```", State::after_json);
  }
  for (const std::string& stop : options_.stop) {
    if (stop.empty()) continue;
    add(options_.json_mode ? State::json_document : State::answer, stop, State::finished,
        Action::stop);
  }
}

void StreamParser::add_call_markers() {
  add(State::calls, "invoke name=\"", State::name, Action::name_begin);
  add(State::calls, "</｜DSML｜tool_calls>", State::finished);
  add(State::calls, "</｜DSML｜ calls>", State::finished);
  add(State::name, "\"", State::arguments, Action::name_end);
  add(State::arguments, "parameter name=\"", State::key, Action::key_begin);
  add(State::arguments, kMarkupEnd, State::calls, Action::arguments_end);
  add(State::key, "\"", State::type, Action::key_end);
  add(State::type, "true\">", State::value, Action::string_begin);
  add(State::type, "false\">", State::value);
  add(State::value, kMarkupEnd, State::arguments, Action::value_end);
}

void StreamParser::enter(State state, bool skips_newlines) {
  state_ = state;
  skips_newlines_ = skips_newlines;
  blanked_ = false;
  for (Marker& marker : markers()) marker.matcher.reset();
}

void StreamParser::feed(std::string_view text, std::vector<StreamEvent>& events) {
  for (const char byte : text) take_byte(byte, events);
  size_t pending = 0;
  for (const Marker& marker : markers()) pending = std::max(pending, marker.matcher.pending());
  release(held_.size() - std::min(pending, held_.size()), events);
}

void StreamParser::take_byte(char byte, std::vector<StreamEvent>& events) {
  if (state_ == State::finished) return;
  held_ += byte;
  if (const Marker* marker = feed_markers(byte)) {
    release(held_.size() - marker->matcher.pending(), events);
    held_.clear();
    perform(*marker, events);
    return;
  }
  if (!skips_newlines_) return;
  if (held_ == "\n") {
    held_.clear();
    enter(state_, true);
  } else {
    skips_newlines_ = false;
  }
}

/// The marker that is complete with this byte: the longest, if there are several.
const StreamParser::Marker* StreamParser::feed_markers(char byte) {
  const Marker* complete = nullptr;
  for (Marker& marker : markers()) {
    if (!marker.matcher.feed(byte)) continue;
    if (complete == nullptr || marker.matcher.pending() > complete->matcher.pending()) {
      complete = &marker;
    }
  }
  return complete;
}

void StreamParser::perform(const Marker& marker, std::vector<StreamEvent>& events) {
  const bool leaves_reasoning = state_ == State::reasoning;
  switch (marker.action) {
    case Action::skip:
      break;
    case Action::stop:
      stop_sequence_ = marker.text;
      break;
    case Action::keep_marker:
      emit(Kind::content, marker.text, events);
      break;
    case Action::name_begin:
      name_.clear();
      break;
    case Action::name_end:
      push(Kind::call_begin, name_, events);
      ++num_calls_;
      has_parameter_ = false;
      break;
    case Action::key_begin:
      emit(Kind::call_arguments, has_parameter_ ? ", \"" : "{\"", events);
      has_parameter_ = true;
      break;
    case Action::key_end:
      emit(Kind::call_arguments, "\": ", events);
      is_string_ = false;
      break;
    case Action::string_begin:
      emit(Kind::call_arguments, "\"", events);
      is_string_ = true;
      break;
    case Action::value_end:
      if (is_string_) emit(Kind::call_arguments, "\"", events);
      break;
    case Action::arguments_end:
      emit(Kind::call_arguments, has_parameter_ ? "}" : "{}", events);
      push(Kind::call_end, {}, events);
      break;
  }
  enter(marker.next, marker.next == State::answer && leaves_reasoning);
}

/// Gives the first `count` held bytes to what the state makes of them.
void StreamParser::release(size_t count, std::vector<StreamEvent>& events) {
  if (count == 0) return;
  const std::string_view text = std::string_view(held_).substr(0, count);
  switch (state_) {
    case State::reasoning:
      emit(Kind::reasoning, text, events);
      break;
    case State::json_document:
      emit(Kind::content, text, events);
      break;
    case State::answer:
    case State::after_json:
      if (!options_.json_mode) {
        emit(Kind::content, text, events);
      } else if (!blanked_) {
        emit(Kind::content, " ", events);
        blanked_ = true;
      }
      break;
    case State::name:
      name_ += text;
      break;
    case State::key:
      emit(Kind::call_arguments, text, events);
      break;
    case State::value:
      if (is_string_) {
        std::string escaped;
        append_json_escaped(escaped, text);
        emit(Kind::call_arguments, escaped, events);
      } else {
        emit(Kind::call_arguments, text, events);
      }
      break;
    case State::calls:
    case State::arguments:
    case State::type:
    case State::finished:
      break;
  }
  held_.erase(0, count);
}

/// Emits text up to the last complete code point; the rest waits for its other bytes.
void StreamParser::emit(Kind kind, std::string_view text, std::vector<StreamEvent>& events) {
  if (kind != partial_kind_) flush_partial(events);
  std::string whole = std::move(partial_);
  whole += text;
  const size_t complete = whole.size() - incomplete_utf8_suffix(whole);
  partial_ = whole.substr(complete);
  partial_kind_ = kind;
  whole.resize(complete);
  if (!whole.empty()) push(kind, std::move(whole), events);
}

void StreamParser::flush_partial(std::vector<StreamEvent>& events) {
  if (partial_.empty()) return;
  std::string bytes;
  bytes.swap(partial_);
  push(partial_kind_, std::move(bytes), events);
}

void StreamParser::push(Kind kind, std::string text, std::vector<StreamEvent>& events) {
  const bool is_delta = kind != Kind::call_begin && kind != Kind::call_end;
  if (!is_delta) flush_partial(events);
  const bool of_call = kind == Kind::call_arguments || kind == Kind::call_end;
  const size_t index = of_call ? num_calls_ - 1 : kind == Kind::call_begin ? num_calls_ : 0;
  if (is_delta && !events.empty() && events.back().kind == kind &&
      events.back().call_index == index) {
    events.back().text += text;
  } else {
    events.push_back({kind, std::move(text), index});
  }
}

StreamFinish StreamParser::finish(FinishReason engine_reason, std::vector<StreamEvent>& events) {
  release(held_.size(), events);
  flush_partial(events);
  enter(State::finished, false);
  if (stop_sequence_) return {FinishReason::stop, stop_sequence_};
  if (engine_reason == FinishReason::stop && num_calls_ > 0) return {FinishReason::tool_calls, {}};
  return {engine_reason, {}};
}

}  // namespace lethe
