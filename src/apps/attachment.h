#pragma once

#include <string>
#include <vector>

namespace lethe::apps {

/// A text file that goes to the model with a message.
struct Attachment {
  std::string name;  ///< without folders
  std::string text;  ///< UTF-8
};

/// Throws UsageError as read_text_file() does.
Attachment load_attachment(const std::string& path);

/// A message with its files before it, in the form that DeepSeek recommends for its models.
std::string with_attachments(const std::vector<Attachment>& files, const std::string& message);

}  // namespace lethe::apps
