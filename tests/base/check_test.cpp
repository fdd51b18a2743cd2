#include "base/check.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

TEST(Check, DoesNothingWhenTheConditionHolds) {
  int evaluations = 0;
  LETHE_CHECK(++evaluations == 1);
  LETHE_CHECK(++evaluations == 2, "never formatted: {}", evaluations);
  EXPECT_EQ(evaluations, 2);
}

TEST(Check, IsOneExpression) {
  bool other = false;
  if (other)
    LETHE_CHECK(false);
  else
    other = true;
  EXPECT_TRUE(other);
}

TEST(CheckDeath, AbortsWithPlaceConditionAndMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const int rows = 3;
  EXPECT_EXIT(LETHE_CHECK(rows == 4, "rows: {}", rows), testing::KilledBySignal(SIGABRT),
              "check_test.cpp:[0-9]+.*rows == 4.*rows: 3");
  EXPECT_EXIT(LETHE_CHECK(rows < 0), testing::KilledBySignal(SIGABRT), "rows < 0");
}

// The caller's condition must not be evaluated in a release build: it may be expensive.
TEST(CheckDeath, DcheckIsForDebugBuilds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  [[maybe_unused]] int evaluations = 0;
#ifdef NDEBUG
  LETHE_DCHECK(++evaluations == 0);
  EXPECT_EQ(evaluations, 0);
#else
  EXPECT_DEATH(LETHE_DCHECK(++evaluations == 0, "internal"), "internal");
#endif
}

}  // namespace
}  // namespace lethe
