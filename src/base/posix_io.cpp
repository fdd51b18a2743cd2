#include "base/posix_io.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace lethe::internal {

namespace {

std::string_view advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return " Free some space or choose another place.";
    case EFBIG:
      return " The file system or a limit of the process (ulimit -f) allows no more.";
    case EIO:
      return " The disk reports a fault.";
    case EFAULT:
      return " The file the bytes come from can no longer be read.";
    default:
      return "";
  }
}

}  // namespace

void write_all(int fd, std::span<const std::byte> bytes, const std::string& path,
               uint64_t already_written) {
  // Linux writes at most 2 GB - 4096 per call; a round piece keeps retries cheap.
  constexpr size_t kPiece = size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), kPiece));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n == 0 ? EIO : errno;
      throw IoError("{}: writing failed after {} bytes: {}.{}", path, already_written,
                    std::strerror(error), advice(error));
    }
    already_written += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

}  // namespace lethe::internal
