#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace lethe::apps {

/// Where the lines of a conversation come from.
class LineReader {
 public:
  enum class Status {
    line,
    interrupted,  ///< Ctrl-C: what was typed is gone
    end,          ///< Ctrl-D on an empty line, or the end of the input
  };

  virtual ~LineReader() = default;
  virtual bool is_terminal() const noexcept = 0;
  /// Waits for a line: UTF-8, without the newline at its end; pasted text may hold newlines.
  virtual Status read(std::string_view prompt, std::string& line) = 0;
  /// Makes the arrow keys bring it back, now and in later runs.
  virtual void remember(const std::string& line) = 0;
};

/// On a terminal (stdin and stdout) a line editor with that history file, else plain lines of stdin
/// without a prompt.
std::unique_ptr<LineReader> open_line_reader(const std::string& history_path);

}  // namespace lethe::apps
