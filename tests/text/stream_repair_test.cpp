#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/stream_parser.h"
#include "text/tool_signature.h"

namespace lethe {
namespace {

using Kind = StreamEvent::Kind;
using Call = std::pair<std::string, std::string>;

struct Result {
  std::string reasoning, content;
  std::vector<Call> calls;
  FinishReason reason = FinishReason::stop;
  size_t num_unfinished = 0;
  bool operator==(const Result&) const = default;
};

StreamParserOptions repairing(StreamStart start = StreamStart::answer) {
  StreamParserOptions options{.start = start, .repair = true};
  const Json schema = parse_json(R"({"type": "object", "properties": {
      "s": {"type": "string"}, "n": {"type": "integer"}, "f": {"type": "number"},
      "o": {"anyOf": [{"type": "object"}, {"type": "null"}]}, "e": {"enum": ["a", 1]},
      "either": {"type": ["string", "integer"]}}})");
  options.tools.emplace_back("run", schema);
  return options;
}

Result parse(const std::string& text, const StreamParserOptions& options = repairing(),
             FinishReason reason = FinishReason::stop, size_t step = 1 << 20) {
  StreamParser parser(options);
  std::vector<StreamEvent> events;
  for (size_t at = 0; at < text.size(); at += step) {
    parser.feed(std::string_view(text).substr(at, step), events);
  }
  const StreamFinish finish = parser.finish(reason, events);
  Result out;
  out.reason = finish.reason;
  out.num_unfinished = finish.num_unfinished_calls;
  for (const StreamEvent& event : events) {
    if (event.kind == Kind::reasoning) out.reasoning += event.text;
    if (event.kind == Kind::content) out.content += event.text;
    if (event.kind == Kind::call_begin) out.calls.emplace_back(event.text, "");
    if (event.kind == Kind::call_arguments) out.calls.at(event.call_index).second += event.text;
  }
  return out;
}

std::string call_with(const std::string& parameters) {
  return "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"run\">\n" + parameters +
         "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
}

/// The arguments of one call with one parameter, written as given.
std::string arguments_of(const std::string& key, const std::string& attribute,
                         const std::string& value) {
  const Result result = parse(call_with("<｜DSML｜parameter name=\"" + key + "\"" + attribute +
                                        ">" + value + "</｜DSML｜parameter>"));
  EXPECT_EQ(result.calls.size(), 1U);
  EXPECT_EQ(result.reason, FinishReason::tool_calls);
  return result.calls.empty() ? "" : result.calls[0].second;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

const std::string kGood =
    "ok\n\n" + call_with(
                   "<｜DSML｜parameter name=\"s\" string=\"true\">x</｜DSML｜parameter>\n"
                   "<｜DSML｜parameter name=\"n\" string=\"false\">3</｜DSML｜parameter>");
const std::vector<Call> kGoodCalls = {{"run", "{\"s\": \"x\", \"n\": 3}"}};

TEST(StreamRepair, SpellingsOfTheMarkup) {
  for (const char* token : {"｜DSML｜", "｜｜DSML｜｜", "|DSML|", "||DSML||", "‖DSML‖", "DSML｜",
                            "DSML|", "\\DSML\\"}) {
    for (const char* space : {"", " "}) {
      std::string text = replaced(kGood, "｜DSML｜", std::string(token) + space);
      const Result result = parse(text);
      EXPECT_EQ(result.content, "ok") << text;
      EXPECT_EQ(result.calls, kGoodCalls) << text;
    }
  }
  EXPECT_EQ(parse(replaced(kGood, "tool_calls", "function_calls")).calls, kGoodCalls);
  EXPECT_EQ(parse(replaced(replaced(kGood, "=\"", "=“"), "\"", "”")).calls, kGoodCalls);
}

TEST(StreamRepair, ASpellingInAValueDoesNotEndIt) {
  EXPECT_EQ(arguments_of("s", " string=\"true\"", "</|DSML|parameter>"),
            "{\"s\": \"</|DSML|parameter>\"}");
}

TEST(StreamRepair, ValuesFollowTheSchema) {
  EXPECT_EQ(arguments_of("n", " string=\"true\"", "3"), "{\"n\": 3}");
  EXPECT_EQ(arguments_of("n", " string=\"true\"", "three"), "{\"n\": \"three\"}");
  EXPECT_EQ(arguments_of("n", " string=\"true\"", "3.5"), "{\"n\": \"3.5\"}");
  EXPECT_EQ(arguments_of("f", " string=\"true\"", "3"), "{\"f\": 3}");
  EXPECT_EQ(arguments_of("o", " string=\"true\"", "{\"k\": 1}"), "{\"o\": {\"k\": 1}}");
  EXPECT_EQ(arguments_of("either", " string=\"true\"", "3"), "{\"either\": \"3\"}");
  EXPECT_EQ(arguments_of("unknown", " string=\"true\"", "3"), "{\"unknown\": \"3\"}");
  EXPECT_EQ(arguments_of("s", "", "3"), "{\"s\": \"3\"}");
  EXPECT_EQ(arguments_of("n", "", "3"), "{\"n\": 3}");
  EXPECT_EQ(arguments_of("unknown", "", "[1]"), "{\"unknown\": [1]}");
  EXPECT_EQ(arguments_of("unknown", "", "a b"), "{\"unknown\": \"a b\"}");
}

TEST(StreamRepair, JsonThatDoesNotParse) {
  EXPECT_EQ(arguments_of("o", " string=\"false\"", "{\"a\": [1, 2, ], }"),
            "{\"o\": {\"a\": [1, 2 ] }}");
  EXPECT_EQ(arguments_of("o", " string=\"false\"", "{\"a\": \",]\"}"), "{\"o\": {\"a\": \",]\"}}");
  EXPECT_EQ(arguments_of("o", " string=\"false\"", "{oops"), "{\"o\": \"{oops\"}");
  EXPECT_EQ(arguments_of("s", " string=\"false\"", "1e5"), "{\"s\": 1e5}");
}

TEST(StreamRepair, MarkupThatIsOnlyMentionedStaysText) {
  const std::string mention =
      "write\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"$TOOL_NAME\"> so.\n";
  const Result result = parse(mention);
  EXPECT_EQ(result.content, mention);
  EXPECT_TRUE(result.calls.empty());
  EXPECT_EQ(result.reason, FinishReason::stop);
  EXPECT_EQ(parse(mention + kGood).calls, kGoodCalls);
  EXPECT_EQ(parse("hm\n" + mention + "</think>x", repairing(StreamStart::reasoning)).reasoning,
            "hm\n" + mention.substr(0, mention.size() - 1));
  EXPECT_EQ(parse("the token <｜DSML｜ is").content, "the token <｜DSML｜ is");
  EXPECT_EQ(parse("a |DSML| b <|DSML|x").content, "a |DSML| b <|DSML|x");
}

TEST(StreamRepair, AnUnfinishedCallIsNotMade) {
  const std::string cut = kGood.substr(0, kGood.find("\n</｜DSML｜invoke>"));
  const Result at_end = parse(cut);
  EXPECT_EQ(at_end.reason, FinishReason::stop);
  EXPECT_EQ(at_end.num_unfinished, 1U);
  const Result by_length = parse(cut, repairing(), FinishReason::length);
  EXPECT_EQ(by_length.reason, FinishReason::length);
  EXPECT_EQ(by_length.calls.at(0).second, "{\"s\": \"x\", \"n\": 3");
  const Result in_value = parse(cut.substr(0, cut.rfind("</")), repairing(), FinishReason::length);
  EXPECT_EQ(in_value.calls.at(0).second, "{\"s\": \"x\", \"n\": 3");
}

TEST(StreamRepair, TheCutDoesNotMatter) {
  std::mt19937_64 random(11);
  static const std::vector<std::string> kPieces = {"\n",
                                                   "<|DSML|",
                                                   "</|DSML|",
                                                   "</think>",
                                                   "<｜DSML｜",
                                                   "</｜DSML｜",
                                                   "tool_calls>",
                                                   " calls>",
                                                   "invoke name=\"",
                                                   "run\"",
                                                   "invoke name=“",
                                                   "run”",
                                                   "parameter name=\"",
                                                   "n\"",
                                                   "s”",
                                                   " string=\"true\">",
                                                   " string=\"false\">",
                                                   ">",
                                                   "3",
                                                   "{\"a\": 1,}",
                                                   "“",
                                                   "日本",
                                                   "|",
                                                   "DSML"};
  for (int round = 0; round < 1000; ++round) {
    std::string text;
    for (size_t i = 0, n = random() % 25; i < n; ++i) text += kPieces[random() % kPieces.size()];
    const auto options = repairing(static_cast<StreamStart>(random() % 3));
    const Result whole = parse(text, options);
    ASSERT_EQ(parse(text, options, FinishReason::stop, 1), whole) << text;
    ASSERT_EQ(parse(text, options, FinishReason::stop, 1 + random() % 9), whole) << text;
  }
}

}  // namespace
}  // namespace lethe
