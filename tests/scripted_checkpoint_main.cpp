// Writes the checkpoint of the default script, for end-to-end tests in any language.
//
//   scripted_checkpoint DIR

#include <fmt/core.h>

#include <exception>

#include "scripted_checkpoint.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: scripted_checkpoint DIR\n");
    return 2;
  }
  try {
    lethe::testing::write_scripted_checkpoint(argv[1], lethe::testing::default_script());
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
