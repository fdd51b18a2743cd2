#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

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

/// What `body` writes to a stderr that is a terminal.
template <typename Body>
std::string shown(const Body& body) {
  int master = -1;
  int slave = -1;
  if (::openpty(&master, &slave, nullptr, nullptr, nullptr) != 0) return "no terminal";
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(slave, STDERR_FILENO);
  body();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(slave);
  std::string text;
  char piece[4096];
  // One read may give a part of it; when all is read, a terminal without a writer is an error.
  for (ssize_t got = 0; (got = ::read(master, piece, sizeof(piece))) > 0;) {
    text.append(piece, static_cast<size_t>(got));
  }
  ::close(master);
  return text;
}

TEST(Progress, ABarOnATerminal) {
  const auto began = Progress::Clock::now() - std::chrono::seconds(10);
  EXPECT_THAT(shown([&] {
                Progress progress("prompt", 200, "tokens", began);
                progress.advance(50);
              }),
              ::testing::MatchesRegex("\r\x1b.K.#####[.]+. prompt:  25 %, 50 of 200 tokens, "
                                      "(5.0|4.[0-9]) tokens/s\r\n"));
}

TEST(Progress, IsErasedWithoutATrace) {
  const auto began = Progress::Clock::now() - std::chrono::seconds(10);
  EXPECT_THAT(shown([&] {
                Progress progress("prompt", 200, "tokens", began);
                progress.advance(200);
                progress.erase();
                progress.erase();
              }),
              ::testing::EndsWith(" tokens/s\r\x1b[K"));
}

}  // namespace
}  // namespace lethe
