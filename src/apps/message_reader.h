#pragma once

#include <string>

#include "apps/line_reader.h"

namespace lethe::apps {

/// Makes messages of lines: one line; lines that end in a backslash with the one after them; or
/// what stands between two lines of three quotes. The end of the input ends a message too.
class MessageReader {
 public:
  struct Message {
    std::string text;
    bool is_block = false;  ///< from between quotes: never a command
  };
  explicit MessageReader(LineReader& lines) : lines_(lines) {}

  /// Whole messages are remembered by the reader of lines.
  LineReader::Status read(Message& message);

 private:
  LineReader::Status read_block(std::string& text);
  LineReader::Status read_continued(std::string& text);

  LineReader& lines_;
};

}  // namespace lethe::apps
