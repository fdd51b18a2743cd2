#include "base/printable.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

TEST(Printable, EscapesEverythingButPrintableAscii) {
  EXPECT_EQ(printable("layers.0 ~"), "layers.0 ~");
  EXPECT_EQ(printable("\x1b[2J\n"), "\\x1b[2J\\x0a");
  EXPECT_EQ(printable("\xc3\xa9\x7f"), "\\xc3\\xa9\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, ShortensLongText) {
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
}

}  // namespace
}  // namespace lethe
