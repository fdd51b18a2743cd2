#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace lethe {

/// Progress of long work on stderr: one updating line on a terminal, else one line per 10 %.
/// `unit` is "tokens", "bytes" (shown as MB), ... Silent until 0.5 s have passed. One thread.
class Progress {
 public:
  Progress(std::string title, int64_t total, std::string unit);
  ~Progress();  ///< Ends the line.
  void advance(int64_t by);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe
