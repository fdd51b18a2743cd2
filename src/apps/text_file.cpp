#include "apps/text_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "apps/units.h"
#include "base/error.h"
#include "base/utf8.h"

namespace lethe::apps {

namespace {

namespace fs = std::filesystem;
constexpr uintmax_t kBytesMax = 16'000'000;

/// Throws unless it is a regular file that is small enough; its size.
size_t checked_size(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw UsageError("{}: {}", path, error ? error.message() : "no such file");
  }
  if (fs::is_directory(status)) throw UsageError("{}: is a folder; name a text file", path);
  if (!fs::is_regular_file(status)) throw UsageError("{}: is no regular file", path);
  const uintmax_t size = fs::file_size(path, error);
  if (error) throw UsageError("{}: {}", path, error.message());
  if (size > kBytesMax) {
    throw UsageError("{}: {}, and a text file may have {}: no context holds more", path,
                     bytes_text(static_cast<int64_t>(size)),
                     bytes_text(static_cast<int64_t>(kBytesMax)));
  }
  return size;
}

}  // namespace

std::string read_text_file(const std::string& path) {
  const std::string place = expanded_path(path);
  const size_t size = checked_size(place);
  errno = 0;
  std::ifstream in(place, std::ios::binary);
  if (!in) throw UsageError("{}: {}", place, std::strerror(errno));
  std::string text(size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<size_t>(in.gcount()));
  check_utf8(text, place);
  if (text.find('\0') != std::string::npos) {
    throw UsageError("{}: holds NUL bytes, so it is no text file", place);
  }
  return text;
}

std::string expanded_path(const std::string& path) {
  const char* home = std::getenv("HOME");
  if (!path.starts_with("~/") || home == nullptr) return path;
  return home + path.substr(1);
}

void check_utf8(const std::string& text, const std::string& what) {
  const size_t good = valid_utf8_prefix(text);
  if (good == text.size()) return;
  throw UsageError("{} is not UTF-8 text: byte {} is 0x{:02x}. Convert it first (iconv -t utf-8).",
                   what, good, static_cast<unsigned char>(text[good]));
}

}  // namespace lethe::apps
