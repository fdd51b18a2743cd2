#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace lethe::testing {

struct ProgramResult {
  int exit_code = -1;
  std::string output;  ///< stdout, and stderr where the arguments redirect it
};

/// Runs the lethe program through the shell: `arguments` may redirect.
inline ProgramResult run_lethe(const std::string& arguments, const std::string& prefix = "") {
  const std::string command = prefix + LETHE_PROGRAM " " + arguments;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen: " + command);
  ProgramResult result;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.output.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

}  // namespace lethe::testing
