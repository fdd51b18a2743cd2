#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace lethe {
namespace {

using ::testing::HasSubstr;

/// What `body` writes to stderr, which is no terminal then.
template <typename Body>
std::string captured(const Body& body) {
  ::testing::internal::CaptureStderr();
  body();
  return ::testing::internal::GetCapturedStderr();
}

TEST(Progress, ShortWorkIsSilent) {
  EXPECT_EQ(captured([] {
              Progress progress("reading", 100, "tokens");
              for (int i = 0; i < 100; ++i) progress.advance(1);
            }),
            "");
}

TEST(Progress, OneLinePerTenPercentWithoutATerminal) {
  const std::string text = captured([] {
    Progress progress("converting", 2'000'000, "bytes");
    progress.advance(100'000);
    std::this_thread::sleep_for(std::chrono::milliseconds(550));
    for (int i = 0; i < 190; ++i) progress.advance(10'000);
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10) << text;
  EXPECT_THAT(text, HasSubstr("converting: 100 %, 2.0 of 2.0 MB, "));
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST(Progress, WorkOfUnknownLengthWritesNoLines) {
  EXPECT_EQ(captured([] {
              Progress progress("reading", 0, "tokens");
              std::this_thread::sleep_for(std::chrono::milliseconds(550));
              progress.advance(5);
            }),
            "");
}

}  // namespace
}  // namespace lethe
