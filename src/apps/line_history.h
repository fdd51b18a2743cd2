#pragma once

#include <string>
#include <vector>

namespace lethe::apps {

/// What was typed before, in a file: one entry a line, oldest first, newlines and backslashes
/// escaped. Programs that run at the same time append to the same file. A file that cannot be read
/// or written is no history, never an error.
class LineHistory {
 public:
  static constexpr size_t kEntriesMax = 1000;

  /// Reads the newest entries; a file that has grown long is cut to them. Empty path: no file.
  explicit LineHistory(std::string path);

  const std::vector<std::string>& entries() const noexcept { return entries_; }
  /// Appends to the file, which is created for its owner alone (0600, folders 0700).
  void add(const std::string& entry);

  /// $XDG_STATE_HOME/lethe/history, else ~/.local/state/lethe/history; empty where neither is
  /// known.
  static std::string default_path();

 private:
  std::string path_;
  std::vector<std::string> entries_;
};

}  // namespace lethe::apps
