#include "apps/message_reader.h"

namespace lethe::apps {

namespace {

using Status = LineReader::Status;
constexpr std::string_view kPrompt = ">>> ";
constexpr std::string_view kMorePrompt = "... ";

bool is_quotes(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t");
  const size_t end = line.find_last_not_of(" \t");
  return begin != std::string_view::npos && line.substr(begin, end - begin + 1) == R"(""")";
}

}  // namespace

Status MessageReader::read(Message& message) {
  message = {};
  Status status = lines_.read(kPrompt, message.text);
  if (status != Status::line) return status;
  message.is_block = is_quotes(message.text);
  if (message.is_block) {
    status = read_block(message.text);
  } else {
    status = read_continued(message.text);
  }
  const bool is_blank = message.text.find_first_not_of(" \t\n") == std::string::npos;
  if (status == Status::line && !is_blank) lines_.remember(message.text);
  return status;
}

Status MessageReader::read_block(std::string& text) {
  text.clear();
  std::string line;
  while (true) {
    const Status status = lines_.read(kMorePrompt, line);
    if (status == Status::interrupted) return status;
    if (status == Status::end || is_quotes(line)) break;
    text += line + "\n";
  }
  if (!text.empty()) text.pop_back();
  return Status::line;
}

Status MessageReader::read_continued(std::string& text) {
  while (text.ends_with('\\')) {
    text.back() = '\n';
    std::string line;
    const Status status = lines_.read(kMorePrompt, line);
    if (status == Status::interrupted) return status;
    if (status == Status::end) {
      text.pop_back();
      break;
    }
    text += line;
  }
  return Status::line;
}

}  // namespace lethe::apps
