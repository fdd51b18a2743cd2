#include "serve/http/http_target.h"

#include <gtest/gtest.h>

#include <string>

#include "serve/http/http_message.h"

namespace lethe::serve {
namespace {

std::string parts(std::string_view target) {
  const auto parsed = parse_target(target);
  return parsed ? parsed->path + " ? " + parsed->query : "refused";
}

TEST(HttpTarget, IsTakenApart) {
  EXPECT_EQ(parts("/"), "/ ? ");
  EXPECT_EQ(parts("/v1/models"), "/v1/models ? ");
  EXPECT_EQ(parts("/a?b?c=/d"), "/a ? b?c=/d");
  EXPECT_EQ(parts("/a?"), "/a ? ");
  EXPECT_EQ(parts("/%2e%2E//x"), "/%2e%2E//x ? ");
  EXPECT_EQ(parts("*"), "* ? ");
  EXPECT_EQ(parts("http://host:8000/a?b"), "/a ? b");
  EXPECT_EQ(parts("http://host"), "/ ? ");
  EXPECT_EQ(parts("http://host?b"), "/ ? b");
}

TEST(HttpTarget, RefusesWhatIsNoPath) {
  for (const std::string target : {"", "a", "?a", "host:80", "/a b", "/a\x7f", "/a#b", "/\n"}) {
    EXPECT_EQ(parts(target), "refused") << target;
  }
}

TEST(HttpTarget, PercentDecoding) {
  EXPECT_EQ(percent_decode("a%20b%2Fc%c3%A9+"), "a b/c\xc3\xa9+");
  EXPECT_EQ(percent_decode(""), "");
  EXPECT_EQ(percent_decode("%00"), std::string(1, '\0'));
  for (const char* text : {"%", "%1", "a%2", "%g0", "%0g", "%%20"}) {
    EXPECT_EQ(percent_decode(text), std::nullopt) << text;
  }
}

TEST(HttpMessage, ErrorHasTheApisShape) {
  const HttpResponse low = http_error(413, "too \"large\"");
  EXPECT_EQ(low.status, 413);
  EXPECT_EQ(low.body,
            R"({"error":{"message":"too \"large\"","type":"invalid_request_error","param":null,)"
            R"("code":"invalid_request_error"}})");
  EXPECT_EQ(http_error(503, "\xff").body,
            "{\"error\":{\"message\":\"\xef\xbf\xbd\",\"type\":\"server_error\",\"param\":null,"
            "\"code\":\"server_error\"}}");
}

}  // namespace
}  // namespace lethe::serve
