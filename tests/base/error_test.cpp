#include "base/error.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

TEST(Error, KeepsABareMessageAsItIs) {
  // One argument is text, not a format: braces in a file name must survive.
  EXPECT_STREQ(Error("{weights}: no such file").what(), "{weights}: no such file");
  EXPECT_STREQ(LoadError("a {} b").what(), "a {} b");
}

TEST(Error, FormatsItsArguments) {
  EXPECT_STREQ(LoadError("{}: {} bytes, expected {}", "x.gguf", 3, 4).what(),
               "x.gguf: 3 bytes, expected 4");
}

TEST(Error, ExitCodesTellAWrongCommandFromAFailure) {
  EXPECT_EQ(Error("e").exit_code(), 1);
  EXPECT_EQ(LoadError("e").exit_code(), 1);
  EXPECT_EQ(IoError("e").exit_code(), 1);
  EXPECT_EQ(UsageError("e").exit_code(), 2);
}

TEST(Error, EveryKindIsCaughtAsErrorWithItsOwnExitCode) {
  const auto caught = [](const auto& thrown) {
    try {
      throw thrown;
    } catch (const Error& error) {
      return error.exit_code();
    }
  };
  EXPECT_EQ(caught(UsageError("--threads {}: expected a positive number", -1)), 2);
  EXPECT_EQ(caught(IoError("disk full")), 1);
}

}  // namespace
}  // namespace lethe
