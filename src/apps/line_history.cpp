#include "apps/line_history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/posix_io.h"
#include "base/utf8.h"

namespace lethe::apps {

namespace {

namespace fs = std::filesystem;

constexpr size_t kEntryBytesMax = 65'536;  // what was pasted to be read once is not kept

std::string escaped(const std::string& entry) {
  std::string out;
  for (const char c : entry) {
    if (c == '\\' || c == '\n') out += '\\';
    out += c == '\n' ? 'n' : c;
  }
  return out;
}

std::string unescaped(const std::string& line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      out += line[i];
    } else {
      ++i;
      out += line[i] == 'n' ? '\n' : line[i];
    }
  }
  return out;
}

/// As FileWriter replaces it, but for its owner alone.
void rewrite(const std::string& path, const std::vector<std::string>& entries) {
  const mode_t mask = ::umask(077);
  try {
    FileWriter writer(path);
    for (const std::string& entry : entries) writer.write(escaped(entry) + "\n");
    writer.commit();
  } catch (const Error&) {
    // The long file stays.
  }
  ::umask(mask);
}

}  // namespace

LineHistory::LineHistory(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  if (path_.empty() || !fs::is_regular_file(path_, ignored)) return;
  std::ifstream in(path_, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    if (valid_utf8_prefix(line) == line.size()) entries_.push_back(unescaped(line));
  }
  const bool is_long = entries_.size() > 2 * kEntriesMax;
  if (entries_.size() > kEntriesMax) {
    entries_.erase(entries_.begin(), entries_.end() - kEntriesMax);
  }
  if (is_long) rewrite(path_, entries_);
}

void LineHistory::add(const std::string& entry) {
  entries_.push_back(entry);
  if (path_.empty() || entry.size() > kEntryBytesMax) return;
  std::error_code ignored;
  const fs::path folder = fs::path(path_).parent_path();
  if (fs::create_directories(folder, ignored)) {
    fs::permissions(folder, fs::perms::owner_all, ignored);
  }
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const std::string line = escaped(entry) + "\n";
  try {
    internal::write_all(fd, std::as_bytes(std::span(line)), path_, 0);
  } catch (const Error&) {
    // Then it is not remembered.
  }
  ::close(fd);
}

std::string LineHistory::default_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/lethe/history";
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] == '\0') return "";
  return std::string(home) + "/.local/state/lethe/history";
}

}  // namespace lethe::apps
