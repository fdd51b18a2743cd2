#include "base/json_py.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace lethe {
namespace {

std::string reread(std::string_view text) {
  return dump_json(parse_json(text));
}

TEST(JsonPy, WritesWhatPythonWrites) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"b\":1,\"a\":[1,2.5,-3e2,null,true]}", "{\"b\": 1, \"a\": [1, 2.5, -300.0, null, true]}"},
      {"[]", "[]"},
      {"{}", "{}"},
      {" [ 1 , 2 ] ", "[1, 2]"},
      {"[1, 1.0, 1e5, 1e15, 1e16, 1e20]", "[1, 1.0, 100000.0, 1000000000000000.0, 1e+16, 1e+20]"},
      {"[0.0001, 0.00001, 1e-7, 5e-324]", "[0.0001, 1e-05, 1e-07, 5e-324]"},
      {"[123456789012345680.0, 0.1, 100]", "[1.2345678901234568e+17, 0.1, 100]"},
      {"[-0, -0.0, 0.0]", "[0, -0.0, 0.0]"},
      {"[1e400, -1e400, 1e-400, 0e999]", "[Infinity, -Infinity, 0.0, 0.0]"},
      {"[NaN, Infinity, -Infinity]", "[NaN, Infinity, -Infinity]"},
      {"[9223372036854775807, 18446744073709551615, 18446744073709551616]",
       "[9223372036854775807, 18446744073709551615, 18446744073709551616]"},
      {"[-9223372036854775808, -9223372036854775809]",
       "[-9223372036854775808, -9223372036854775809]"},
      {"{\"a\": 1, \"b\": 2, \"a\": 3}", "{\"a\": 3, \"b\": 2}"},
      {R"("\" \\ \/ \b \f \n \r \t \u0001 \u007f \u2028")",
       "\"\\\" \\\\ / \\b \\f \\n \\r \\t \\u0001 \x7f \xe2\x80\xa8\""},
      {R"("\u00e9 \ud83d\ude00 \u5929")", "\"é 😀 天\""},
      {R"("a\ud800b\udc00c\ud800\u0041")",
       "\"a\xef\xbf\xbd"
       "b\xef\xbf\xbd"
       "c\xef\xbf\xbd"
       "A\""},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(reread(text), expected) << text;
}

TEST(JsonPy, RefusesWhatPythonRefuses) {
  for (const std::string text : {"",
                                 " ",
                                 "{",
                                 "[1,]",
                                 "{\"a\":1,}",
                                 "{a:1}",
                                 "'a'",
                                 "01",
                                 "1.",
                                 ".5",
                                 "+1",
                                 "1e",
                                 "-",
                                 "nul",
                                 "\"a",
                                 "\"\\x\"",
                                 "\"\\u12g4\"",
                                 "\"\\u12",
                                 "\"\n\"",
                                 "[1] 2",
                                 "\xef\xbb\xbf[1]",
                                 "{\"a\" 1}",
                                 "[1 2]",
                                 "tru",
                                 "-Inf",
                                 "\"\xff\"",
                                 "\"\xed\xa0\x80\"",
                                 "\"\xc0\x80\"",
                                 "{1: 2}",
                                 "]"}) {
    EXPECT_THROW(parse_json(text), JsonError) << text;
  }
}

TEST(JsonPy, ErrorsNameTheByte) {
  try {
    parse_json("[1, 2, x]");
    FAIL();
  } catch (const JsonError& error) {
    EXPECT_EQ(error.offset(), 7U);
  }
}

TEST(JsonPy, LimitsHoldBeforeAnythingIsBuilt) {
  const JsonLimits limits{.depth = 3, .object_keys = 2, .values = 6, .integer_digits = 20};
  EXPECT_NO_THROW(parse_json("[[[1]]]", limits));
  EXPECT_THROW(parse_json("[[[[1]]]]", limits), JsonError);
  EXPECT_NO_THROW(parse_json("{\"a\":1,\"b\":2}", limits));
  EXPECT_THROW(parse_json("{\"a\":1,\"b\":2,\"b\":3}", limits), JsonError);
  EXPECT_NO_THROW(parse_json("[1,2,3,4,5]", limits));
  EXPECT_THROW(parse_json("[1,2,3,4,5,6]", limits), JsonError);
  EXPECT_NO_THROW(parse_json(std::string(20, '9'), limits));
  EXPECT_THROW(parse_json(std::string(21, '9'), limits), JsonError);
  EXPECT_THROW(parse_json(std::string(1'000'000, '[')), JsonError);
}

TEST(JsonPy, BigIntegersAreNotNumbers) {
  const Json value = parse_json("340282366920938463463374607431768211456");
  EXPECT_FALSE(value.is_number());
  EXPECT_EQ(dump_json(value), "340282366920938463463374607431768211456");
}

TEST(JsonPy, ManyKeysKeepTheirOrder) {
  std::string text = "{";
  for (int i = 0; i < 19'000; ++i) text += fmt::format("\"k{}\": {}, ", i, i);
  text += "\"k0\": -1}";
  const Json value = parse_json(text);
  EXPECT_EQ(value.size(), 19'000U);
  EXPECT_EQ(value.begin().key(), "k0");
  EXPECT_EQ(value.begin().value(), -1);
  EXPECT_EQ(std::prev(value.end()).key(), "k18999");
}

TEST(JsonPy, EscapingInPiecesGivesTheSame) {
  const std::string text = "he said \"hi\"\n\\path\x01 日本";
  std::string whole;
  append_json_escaped(whole, text);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    std::string pieces;
    append_json_escaped(pieces, std::string_view(text).substr(0, cut));
    append_json_escaped(pieces, std::string_view(text).substr(cut));
    EXPECT_EQ(pieces, whole);
  }
}

TEST(JsonPy, FloatReprOfSpecialValues) {
  EXPECT_EQ(python_float_repr(std::numeric_limits<double>::max()), "1.7976931348623157e+308");
  EXPECT_EQ(python_float_repr(9007199254740993.0), "9007199254740992.0");
  EXPECT_EQ(python_float_repr(9999999999999998.0), "9999999999999998.0");
  EXPECT_EQ(python_float_repr(1e22), "1e+22");
  EXPECT_EQ(python_float_repr(-1.5e-9), "-1.5e-09");
}

}  // namespace
}  // namespace lethe
