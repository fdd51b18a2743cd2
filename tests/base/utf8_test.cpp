#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace lethe {
namespace {

TEST(Utf8, EveryCodePointIsValidAndItsPrefixesWait) {
  for (char32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    std::string bytes;
    append_utf8(bytes, code_point);
    ASSERT_EQ(valid_utf8_prefix(bytes), bytes.size());
    ASSERT_EQ(incomplete_utf8_suffix(bytes), 0U);
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      std::string begin(1, 'x');
      begin.append(bytes, 0, cut);
      ASSERT_EQ(valid_utf8_prefix(begin), 1U);
      ASSERT_EQ(incomplete_utf8_suffix(begin), cut);
    }
  }
}

TEST(Utf8, IllFormedBytesNeverWait) {
  for (const std::string bytes : {"\x80", "\xc0", "\xc1\x80", "\xe0\x9f", "\xed\xa0", "\xf0\x8f",
                                  "\xf4\x90", "\xf5", "\xff", "\xe2\x80\x41"}) {
    EXPECT_EQ(valid_utf8_prefix(bytes), 0U) << bytes;
    EXPECT_EQ(incomplete_utf8_suffix(bytes), 0U) << bytes;
  }
}

TEST(Utf8, SurrogatesBecomeTheReplacementCharacter) {
  std::string out;
  append_utf8(out, 0xD800);
  append_utf8(out, 0x110000);
  EXPECT_EQ(out, "\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace lethe
