#include "text/completion_parser.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

constexpr std::string_view kEnd = "<｜end▁of▁sentence｜>";

ParsedCompletion parse(const std::string& text) {
  return parse_completion(kPromptV4Ga, text, /*thinking=*/false);
}

std::string block(const std::string& inside) {
  return "\n\n<｜DSML｜tool_calls>\n" + inside + "</｜DSML｜tool_calls>";
}

std::string call(const std::string& name, const std::string& parameters) {
  return "<｜DSML｜invoke name=\"" + name + "\">\n" + parameters + "</｜DSML｜invoke>\n";
}

const std::string kParameter =
    "<｜DSML｜parameter name=\"a\" string=\"false\">1</｜DSML｜parameter>\n";

// What no golden row shows, as the encoders' own parser has it.
TEST(CompletionParser, AcceptsWhatTheOriginalAccepts) {
  const std::string end(kEnd);
  EXPECT_TRUE(parse(block("") + end).tool_calls.empty());
  EXPECT_EQ(parse(block(call("f", kParameter))).tool_calls.at(0).arguments, "{\"a\": 1}");
  EXPECT_EQ(parse(block(call("a\"b", kParameter)) + end).tool_calls.at(0).name, "a\"b");
  EXPECT_EQ(parse(block(call("f", "\n" + kParameter)) + end).tool_calls.at(0).arguments,
            "{\"a\": 1}");
  const std::string odd =
      "<｜DSML｜parameter name=\"k\" string=\"x\" string=\"true\">v</｜DSML｜parameter>\n";
  EXPECT_EQ(parse(block(call("f", odd)) + end).tool_calls.at(0).arguments,
            "{\"k\\\" string=\\\"x\": \"v\"}");
}

TEST(CompletionParser, RefusesWithOneShortLine) {
  const std::string end(kEnd);
  const std::vector<std::string> refused = {"text" + end + "more",
                                            block(call("f", kParameter)) + "more" + end,
                                            block(call("f", kParameter + "\n")) + end,
                                            block(call("f", "\n\n" + kParameter)) + end,
                                            block(call("f", "text" + kParameter)) + end,
                                            block("<｜DSML｜invoke>\n</｜DSML｜invoke>\n") + end,
                                            "a ｜DSML｜ b" + end,
                                            block(call("f", std::string(100'000, 'x'))) + end};
  for (const std::string& text : refused) {
    try {
      parse(text);
      ADD_FAILURE() << text.substr(0, 200);
    } catch (const PromptError& error) {
      EXPECT_LT(std::string_view(error.what()).size(), 600U);
    }
  }
}

}  // namespace
}  // namespace lethe
