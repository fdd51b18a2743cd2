#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/sigbus_guard.h"

namespace lethe {

struct MappedFile::Impl {
  std::string path;
  int fd = -1;
  struct stat opened = {};
  std::span<const std::byte> bytes;
  std::optional<internal::SigbusGuard> guard;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    guard.reset();
    if (!bytes.empty()) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
    if (fd >= 0) ::close(fd);
  }

  void open_file();
  void map();
};

void MappedFile::Impl::open_file() {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) throw LoadError("{}: cannot be opened: {}.", path, std::strerror(errno));
  if (::fstat(fd, &opened) != 0) {
    throw LoadError("{}: cannot be examined: {}.", path, std::strerror(errno));
  }
  if (S_ISDIR(opened.st_mode)) {
    throw LoadError("{}: is a directory; a file was expected here.", path);
  }
  if (!S_ISREG(opened.st_mode)) {
    throw LoadError("{}: is not a regular file (a device, pipe or socket).", path);
  }
}

void MappedFile::Impl::map() {
  const auto size = static_cast<size_t>(opened.st_size);
  if (size == 0) return;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) {
    throw LoadError("{}: {} bytes cannot be mapped into memory: {}.{}", path, size,
                    std::strerror(errno),
                    errno == ENOMEM ? " Mapped files take address space but no memory: raise the "
                                      "limit of the former (ulimit -v)."
                                    : "");
  }
  bytes = {static_cast<const std::byte*>(address), size};
  guard.emplace(address, size,
                fmt::format("{}: the file can no longer be read: it was truncated or replaced in "
                            "place, or its disk failed, while the program was using it (it had {} "
                            "bytes when it was opened). Restore the file and start again.\n",
                            path, size));
}

MappedFile MappedFile::open(const std::string& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->open_file();
  impl->map();
  MappedFile file;
  file.impl_ = std::move(impl);
  return file;
}

std::span<const std::byte> MappedFile::bytes() const noexcept {
  return impl_->bytes;
}

const std::string& MappedFile::path() const noexcept {
  return impl_->path;
}

void MappedFile::check_unchanged() const {
  const struct stat& then = impl_->opened;
  struct stat now = {};
  if (::fstat(impl_->fd, &now) != 0) {
    throw IoError("{}: the open file can no longer be examined: {}.", path(), std::strerror(errno));
  }
  if (now.st_size != then.st_size) {
    throw IoError(
        "{}: the file changed while it was in use: it had {} bytes when it was opened and has {} "
        "now. Results computed since cannot be trusted; start again.",
        path(), then.st_size, now.st_size);
  }
  const bool same_time =
      now.st_mtim.tv_sec == then.st_mtim.tv_sec && now.st_mtim.tv_nsec == then.st_mtim.tv_nsec;
  if (!same_time || now.st_ino != then.st_ino || now.st_dev != then.st_dev) {
    throw IoError(
        "{}: the file was written to while it was in use (its modification time changed). Results "
        "computed since cannot be trusted; start again.",
        path());
  }
}

void MappedFile::read(uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t count = ::pread(impl_->fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw IoError("{}: cannot be read: {}.", path(), std::strerror(errno));
    if (count == 0) {
      throw IoError("{}: the file ended while it was being read, {} bytes too early.", path(),
                    into.size());
    }
    offset += static_cast<uint64_t>(count);
    into = into.subspan(static_cast<size_t>(count));
  }
}

void MappedFile::drop_cached(uint64_t offset, uint64_t size) const noexcept {
  static_cast<void>(::posix_fadvise(impl_->fd, static_cast<off_t>(offset), static_cast<off_t>(size),
                                    POSIX_FADV_DONTNEED));
}

}  // namespace lethe
