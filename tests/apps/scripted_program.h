#pragma once

#include <fstream>
#include <iterator>
#include <string>

#include "apps/run_program.h"
#include "scripted_checkpoint.h"
#include "temporary_directory.h"

namespace lethe::testing {

/// The checkpoint of the default script, written once per process.
inline std::string scripted_model() {
  static const TemporaryDirectory directory;
  static const bool written = [] {
    write_scripted_checkpoint(directory.path(), default_script());
    return true;
  }();
  static_cast<void>(written);
  return directory.path().string();
}

inline void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace lethe::testing
