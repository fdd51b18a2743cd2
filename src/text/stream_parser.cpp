#include "text/stream_parser.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/json_py.h"
#include "base/utf8.h"
#include "text/prompt_texts.h"

namespace lethe {
namespace {

using Kind = StreamEvent::Kind;

constexpr std::string_view kMarkupBegin = "<｜DSML｜";
constexpr std::string_view kMarkupEnd = "</｜DSML｜";

/// Other spellings of the DSML token that were seen; 0 is the real one.
constexpr std::string_view kDialects[] = {"｜DSML｜", "｜｜DSML｜｜", "|DSML|", "||DSML||",
                                          "‖DSML‖",   "DSML｜",       "DSML|",  "\\DSML\\"};
/// Words that may follow the token where calls begin, and those that end the block.
constexpr std::string_view kBeginWords[] = {"tool_calls", " tool_calls",    "calls",
                                            " calls",     "function_calls", " function_calls",
                                            "invoke",     " invoke"};
constexpr std::string_view kEndWords[] = {"tool_calls>", " tool_calls>",    "calls>",
                                          " calls>",     "function_calls>", " function_calls>"};

}  // namespace

StreamParser::StreamParser(StreamParserOptions options)
    : options_(std::move(options)), markers_(static_cast<size_t>(State::finished) + 1) {
  add_text_markers();
  add_call_markers();
  if (options_.repair) {
    if (options_.parse_tools) add_dialect_markers();
    add_quote_markers();
  }
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

StreamParser::Marker& StreamParser::add(State state, std::string_view marker, State next,
                                        Action action, bool takes_newlines) {
  return markers_[static_cast<size_t>(state)].emplace_back(
      Marker{MarkerMatcher(marker, takes_newlines), std::string(marker), next, action});
}

void StreamParser::add_text_markers() {
  add(State::reasoning, prompt_texts::kThinkEnd, State::answer, Action::skip, true);
  add(State::answer, prompt_texts::kThinkEnd, State::answer);
  if (options_.parse_tools) {
    for (const State state : {State::reasoning, State::answer, State::after_json}) {
      add(state, kMarkupBegin, State::calls, Action::markup_begin, true);
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
  add(State::type, "false\">", State::value, Action::json_begin);
  add(State::value, kMarkupEnd, State::arguments, Action::value_end);
}

void StreamParser::add_dialect_markers() {
  for (size_t dialect = 0; dialect < std::size(kDialects); ++dialect) {
    const std::string begin = fmt::format("<{}", kDialects[dialect]);
    const std::string end = fmt::format("</{}", kDialects[dialect]);
    for (const std::string_view word : kEndWords) {
      add(State::calls, fmt::format("{}{}", end, word), State::finished).dialect = dialect;
    }
    if (dialect == 0) continue;
    add(State::arguments, end, State::calls, Action::arguments_end).dialect = dialect;
    add(State::value, end, State::arguments, Action::value_end).dialect = dialect;
    for (const State state : {State::reasoning, State::answer, State::after_json}) {
      for (const std::string_view word : kBeginWords) {
        Marker& marker =
            add(state, fmt::format("{}{}", begin, word), State::calls, Action::markup_begin, true);
        marker.dialect = dialect;
        marker.replay_size = word.size();
      }
    }
  }
}

/// Typographic quotes, quotes left out, and a type left out.
void StreamParser::add_quote_markers() {
  add(State::calls, "invoke name=“", State::name, Action::name_begin);
  add(State::name, "”", State::arguments, Action::name_end);
  add(State::arguments, "parameter name=“", State::key, Action::key_begin);
  add(State::key, "”", State::type, Action::key_end);
  for (const std::string_view quote : {"”>", ">"}) {
    add(State::type, fmt::format("true{}", quote), State::value, Action::string_begin);
    add(State::type, fmt::format("false{}", quote), State::value, Action::json_begin);
  }
  add(State::type, ">", State::value, Action::unmarked_begin);
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
  for (const Marker& marker : markers()) {
    if (applies(marker)) pending = std::max(pending, marker.matcher.pending());
  }
  release(held_.size() - std::min(pending, held_.size()), events);
}

void StreamParser::take_byte(char byte, std::vector<StreamEvent>& events) {
  if (state_ == State::finished) return;
  held_ += byte;
  if (markup_) *markup_ += byte;
  if (const Marker* marker = feed_markers(byte)) {
    release(held_.size() - marker->matcher.pending(), events);
    const std::string matched = std::move(held_);
    held_.clear();
    perform(*marker, matched, events);
    const std::string_view replay =
        std::string_view(matched).substr(matched.size() - marker->replay_size);
    for (const char again : replay) take_byte(again, events);
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
    if (!marker.matcher.feed(byte) || !applies(marker)) continue;
    if (complete == nullptr || marker.matcher.pending() > complete->matcher.pending()) {
      complete = &marker;
    }
  }
  return complete;
}

/// Markup ends in the spelling in which it began, or in the real one.
bool StreamParser::applies(const Marker& marker) const {
  return marker.dialect == 0 || marker.dialect == dialect_ || marker.action == Action::markup_begin;
}

void StreamParser::perform(const Marker& marker, std::string_view matched,
                           std::vector<StreamEvent>& events) {
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
    case Action::markup_begin:
      begin_markup(marker, matched);
      break;
    case Action::name_begin:
      name_.clear();
      break;
    case Action::name_end:
      if (markup_ && !is_declared(name_)) {
        return_markup(events);
        return;
      }
      begin_call(events);
      break;
    case Action::key_begin:
      emit(Kind::call_arguments, has_parameter_ ? ", \"" : "{\"", events);
      has_parameter_ = true;
      key_.clear();
      break;
    case Action::key_end:
      emit(Kind::call_arguments, "\": ", events);
      break;
    case Action::string_begin:
      begin_value(WrittenAs::string, events);
      break;
    case Action::json_begin:
      begin_value(WrittenAs::json, events);
      break;
    case Action::unmarked_begin:
      begin_value(WrittenAs::unmarked, events);
      break;
    case Action::value_end:
      end_value(events);
      break;
    case Action::arguments_end:
      emit(Kind::call_arguments, has_parameter_ ? "}" : "{}", events);
      push(Kind::call_end, {}, events);
      ++num_ended_;
      break;
  }
  if (marker.next == State::finished) markup_.reset();
  enter(marker.next, marker.next == State::answer && leaves_reasoning);
}

/// Under repair the markup is kept as written: it may turn out to be a mention of markup.
void StreamParser::begin_markup(const Marker& marker, std::string_view matched) {
  dialect_ = marker.dialect;
  markup_from_ = state_;
  if (options_.repair) markup_ = matched.substr(0, matched.size() - marker.replay_size);
}

bool StreamParser::is_declared(std::string_view name) const {
  return options_.tools.empty() || find_tool(name) != nullptr;
}

const ToolSignature* StreamParser::find_tool(std::string_view name) const {
  const auto tool = std::ranges::find(options_.tools, name, &ToolSignature::name);
  return tool == options_.tools.end() ? nullptr : &*tool;
}

/// The markup was none: gives it back to where it stood, as text.
void StreamParser::return_markup(std::vector<StreamEvent>& events) {
  held_ = *std::move(markup_);
  markup_.reset();
  enter(markup_from_, false);
  release(held_.size(), events);
}

void StreamParser::begin_call(std::vector<StreamEvent>& events) {
  markup_.reset();
  tool_ = find_tool(name_);
  push(Kind::call_begin, name_, events);
  ++num_calls_;
  has_parameter_ = false;
}

JsonTypes StreamParser::allowed_types() const {
  return tool_ == nullptr ? JsonTypes::any() : tool_->types_of(key_);
}

/// Under repair only a string that the schema allows flows as it comes.
void StreamParser::begin_value(WrittenAs written, std::vector<StreamEvent>& events) {
  written_ = written;
  const bool flows =
      written == WrittenAs::string && allowed_types().contains(JsonTypes::named("string"));
  if (options_.repair && !flows) {
    value_.emplace();
  } else if (written == WrittenAs::string) {
    emit(Kind::call_arguments, "\"", events);
  }
}

void StreamParser::release_value(std::string_view text, std::vector<StreamEvent>& events) {
  if (value_) {
    *value_ += text;
  } else if (written_ == WrittenAs::string) {
    std::string escaped;
    append_json_escaped(escaped, text);
    emit(Kind::call_arguments, escaped, events);
  } else {
    emit(Kind::call_arguments, text, events);
  }
}

void StreamParser::end_value(std::vector<StreamEvent>& events) {
  if (value_) {
    emit(Kind::call_arguments, repaired_value(*value_, written_, allowed_types()), events);
    value_.reset();
  } else if (written_ == WrittenAs::string) {
    emit(Kind::call_arguments, "\"", events);
  }
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
      key_ += text;
      emit(Kind::call_arguments, text, events);
      break;
    case State::value:
      release_value(text, events);
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
  if (markup_) return_markup(events);
  // A value cut in the middle stays as far as it came.
  if (value_) emit(Kind::call_arguments, *value_, events);
  flush_partial(events);
  enter(State::finished, false);
  const size_t unfinished = num_calls_ - num_ended_;
  if (stop_sequence_) return {FinishReason::stop, unfinished, stop_sequence_};
  const size_t num_made = options_.repair ? num_ended_ : num_calls_;
  const bool makes_calls = engine_reason == FinishReason::stop && num_made > 0;
  return {makes_calls ? FinishReason::tool_calls : engine_reason, unfinished, std::nullopt};
}

}  // namespace lethe
