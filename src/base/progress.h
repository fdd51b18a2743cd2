#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace lethe {

/// Progress of long work on stderr: one updating line with a bar on a terminal, else one line per
/// 10 %. `unit` is "tokens", "bytes" (shown as MB), ... Silent until 0.5 s have passed. One thread.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  /// `start`: when the work began, where that was earlier.
  Progress(std::string title, int64_t total, std::string unit,
           Clock::time_point start = Clock::now());
  ~Progress();  ///< Ends the line.
  void advance(int64_t by);
  /// Takes the line off the terminal again; lines of a log stay.
  void erase();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe
