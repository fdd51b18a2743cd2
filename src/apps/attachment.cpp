#include "apps/attachment.h"

#include <fmt/format.h>

#include <filesystem>

#include "apps/text_file.h"

namespace lethe::apps {

Attachment load_attachment(const std::string& path) {
  Attachment file{.name = std::filesystem::path(path).filename().string(),
                  .text = read_text_file(path)};
  check_utf8(file.name, "the name of the file");
  return file;
}

std::string with_attachments(const std::vector<Attachment>& files, const std::string& message) {
  std::string out;
  for (const Attachment& file : files) {
    out += fmt::format("[file name]: {}\n[file content begin]\n{}{}[file content end]\n", file.name,
                       file.text, file.text.empty() || file.text.ends_with('\n') ? "" : "\n");
  }
  return out + message;
}

}  // namespace lethe::apps
