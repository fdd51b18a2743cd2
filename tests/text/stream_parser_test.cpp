#include "text/stream_parser.h"

#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <string>

#include "base/utf8.h"

namespace lethe {
namespace {

using Kind = StreamEvent::Kind;

struct Result {
  std::string reasoning, content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  size_t num_ended = 0;
  FinishReason reason = FinishReason::stop;
  std::optional<std::string> stop_sequence;
  bool operator==(const Result&) const = default;
};

Result join(const std::vector<StreamEvent>& events, const StreamFinish& finish) {
  Result out;
  for (const StreamEvent& event : events) {
    if (event.kind == Kind::reasoning) out.reasoning += event.text;
    if (event.kind == Kind::content) out.content += event.text;
    if (event.kind == Kind::call_begin) {
      EXPECT_EQ(event.call_index, out.calls.size());
      out.calls.emplace_back(event.text, "");
    }
    if (event.kind == Kind::call_arguments) out.calls.at(event.call_index).second += event.text;
    if (event.kind == Kind::call_end) ++out.num_ended;
  }
  out.reason = finish.reason;
  out.stop_sequence = finish.stop_sequence;
  return out;
}

Result parse(const StreamParserOptions& options, const std::vector<std::string>& pieces,
             FinishReason reason = FinishReason::stop) {
  StreamParser parser(options);
  std::vector<StreamEvent> events;
  for (const std::string& piece : pieces) parser.feed(piece, events);
  const StreamFinish finish = parser.finish(reason, events);
  return join(events, finish);
}

TEST(StreamParser, DeltasFlowWhileTheTextArrives) {
  StreamParser parser({.start = StreamStart::reasoning});
  std::vector<StreamEvent> events;
  const auto feed = [&](std::string_view text) {
    events.clear();
    parser.feed(text, events);
    return events;
  };
  using Events = std::vector<StreamEvent>;
  EXPECT_EQ(feed("\nthink"), (Events{{Kind::reasoning, "think"}}));
  EXPECT_EQ(feed("\n</thi"), Events{});
  EXPECT_EQ(feed("s"), (Events{{Kind::reasoning, "\n</this"}}));
  EXPECT_EQ(feed(" is</think>\n\nok\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"ru"),
            (Events{{Kind::reasoning, " is"}, {Kind::content, "ok"}}));
  EXPECT_EQ(feed("n\">\n<｜DSML｜parameter name=\"c"),
            (Events{{Kind::call_begin, "run"}, {Kind::call_arguments, "{\"c"}}));
  EXPECT_EQ(feed("md\" string=\"true\">ls \"x\""),
            (Events{{Kind::call_arguments, "md\": \"ls \\\"x\\\""}}));
  EXPECT_EQ(feed("</｜DS"), Events{});
  EXPECT_EQ(feed("ML｜parameter>\n</｜DSML｜invoke>"),
            (Events{{Kind::call_arguments, "\"}"}, {Kind::call_end, ""}}));
  EXPECT_EQ(parser.finish(FinishReason::stop, events).reason, FinishReason::tool_calls);
}

TEST(StreamParser, CodePointsAreNeverCut) {
  const std::string text = "日本語 ✓ 😀 <～ <｜x \"";
  StreamParser parser({});
  std::vector<StreamEvent> all;
  for (const char byte : text) {
    std::vector<StreamEvent> events;
    parser.feed(std::string_view(&byte, 1), events);
    for (const StreamEvent& event : events) {
      EXPECT_EQ(valid_utf8_prefix(event.text), event.text.size()) << event.text;
    }
    all.insert(all.end(), events.begin(), events.end());
  }
  const StreamFinish finish = parser.finish(FinishReason::stop, all);
  EXPECT_EQ(join(all, finish).content, text);
}

TEST(StreamParser, StopStrings) {
  // The longer of two that end together; the one that ends first otherwise.
  EXPECT_EQ(parse({.stop = {"ND", "END"}}, {"an END."}).stop_sequence, "END");
  EXPECT_EQ(parse({.stop = {"ENDED", "END"}}, {"an ENDED"}).stop_sequence, "END");
  EXPECT_EQ(parse({.stop = {"", "x"}}, {"axb"}).content, "a");
  const Result kept = parse({.stop = {"END"}}, {"EN"}, FinishReason::length);
  EXPECT_EQ(kept.content, "EN");
  EXPECT_EQ(kept.reason, FinishReason::length);
  StreamParser parser({.stop = {"."}});
  std::vector<StreamEvent> events;
  parser.feed("a", events);
  EXPECT_FALSE(parser.done());
  parser.feed(".b", events);
  EXPECT_TRUE(parser.done());
}

TEST(StreamParser, NewlinesBeforeAMarkerBelongToIt) {
  EXPECT_EQ(parse({}, {"a\n<\n\n<｜DSML｜"}).content, "a\n<");
  EXPECT_EQ(parse({}, {"a\n\n<<｜DSML｜"}).content, "a\n\n<");
  EXPECT_EQ(parse({}, {"a\n\n"}).content, "a\n\n");
  EXPECT_EQ(parse({.continues_text = true}, {"\n\na"}).content, "\n\na");
}

TEST(StreamParser, CutCallsKeepWhatThereIs) {
  const std::string begin =
      "<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"true\">x";
  const Result in_name = parse({}, {"<｜DSML｜invoke name=\"f"}, FinishReason::length);
  EXPECT_TRUE(in_name.calls.empty());
  EXPECT_EQ(in_name.reason, FinishReason::length);
  const Result in_value = parse({}, {begin + "</｜DS"}, FinishReason::length);
  EXPECT_EQ(in_value.calls.at(0).second, "{\"a\": \"x</｜DS");
  EXPECT_EQ(in_value.num_ended, 0U);
}

TEST(StreamParser, JsonMode) {
  const StreamParserOptions json{.parse_tools = false, .json_mode = true};
  EXPECT_EQ(parse(json, {"{\"a\": [1]}"}).content, "{\"a\": [1]}");
  EXPECT_EQ(parse(json, {"```json\n{\"a\": 1}\n```"}).content, "{\"a\": 1}");
  EXPECT_EQ(parse(json, {"Here it is:\n```\n[1]\n```\nDone."}).content, " [1] ");
  EXPECT_EQ(parse(json, {"Sure: ", "so ", "[1]"}).content, " [1]");
}

/// Random text made of the pieces that matter.
std::string random_text(std::mt19937_64& random) {
  static const std::vector<std::string> kPieces = {"\n",
                                                   "<",
                                                   "</",
                                                   "</think>",
                                                   "<｜DSML｜",
                                                   "</｜DSML｜",
                                                   "tool_calls>",
                                                   " calls>",
                                                   "invoke name=\"",
                                                   "f\"",
                                                   "parameter name=\"",
                                                   "k\"",
                                                   " string=\"true\">",
                                                   " string=\"false\">",
                                                   "value",
                                                   "\"",
                                                   "END",
                                                   "日本",
                                                   "<｜",
                                                   "｜",
                                                   "{",
                                                   "```json\n",
                                                   "\n```",
                                                   "EN",
                                                   "\xff",
                                                   ">"};
  std::string out;
  for (size_t i = 0, n = random() % 30; i < n; ++i) out += kPieces[random() % kPieces.size()];
  return out;
}

TEST(StreamParser, TheCutDoesNotMatter) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = random_text(random);
    const StreamParserOptions options{.start = static_cast<StreamStart>(random() % 3),
                                      .continues_text = random() % 2 == 0,
                                      .parse_tools = random() % 4 != 0,
                                      .json_mode = random() % 4 == 0,
                                      .stop = random() % 2 == 0
                                                  ? std::vector<std::string>{"END", "\n\n"}
                                                  : std::vector<std::string>()};
    const Result whole = parse(options, {text});
    std::vector<std::string> bytes, pieces{""};
    for (const char byte : text) {
      bytes.emplace_back(1, byte);
      if (random() % 5 == 0) pieces.emplace_back();
      pieces.back() += byte;
    }
    ASSERT_EQ(parse(options, bytes), whole) << text;
    ASSERT_EQ(parse(options, pieces), whole) << text;
  }
}

TEST(StreamParser, HostileTextTakesLinearTime) {
  const auto seconds = [](const std::string& unit, size_t size) {
    std::string text;
    while (text.size() < size) text += unit;
    const std::clock_t begin = std::clock();
    parse({.start = StreamStart::reasoning, .stop = {std::string(1000, 'a')}}, {text});
    parse({.stop = {std::string(1000, 'a') + "b"}}, {text});
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  for (const std::string unit :
       {"\n", "<｜DSML", "a", "</thi", "<｜DSML｜invoke name=\"f\"</｜DSML｜"}) {
    // Sixteen times the text; quadratic work would take 256 times as long.
    const double small = seconds(unit, 1 << 16), large = seconds(unit, 1 << 20);
    EXPECT_LT(large, 64 * small + 0.2) << unit;
  }
}

}  // namespace
}  // namespace lethe
