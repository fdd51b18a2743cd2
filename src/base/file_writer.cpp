#include "base/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/posix_io.h"

namespace lethe {

namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

/// Where the bytes of `path` go in the end: the target of a symbolic link, so that the link stays.
std::string resolve_target(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return path;
  if (S_ISDIR(status.st_mode)) throw IoError("{}: is a directory; a file name is needed.", path);
  if (!S_ISREG(status.st_mode)) {
    throw IoError("{}: is not a regular file and will not be replaced by one.", path);
  }
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return error ? path : target.string();
}

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

struct FileWriter::Impl {
  std::string path;  ///< as the user named it, for messages
  std::string target;
  std::string temporary;
  int fd = -1;
  uint64_t flushed = 0;
  std::vector<std::byte> buffer;

  ~Impl() { discard(); }

  void create_temporary();
  void append(std::span<const std::byte> bytes);
  void flush();
  void commit();
  /// Closes and removes the temporary, if there still is one.
  void discard() noexcept;
  [[noreturn]] void fail(std::string_view what, int error);
  void sync_directory();
};

void FileWriter::Impl::create_temporary() {
  static std::atomic<unsigned> counter{0};
  do {
    temporary = fmt::format("{}.tmp-{}-{}", target, ::getpid(), counter.fetch_add(1));
    fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EEXIST);
  if (fd >= 0) return;
  const int error = errno;
  temporary.clear();
  throw IoError("{}: cannot be written: no file can be created in {}: {}.", path,
                directory_of(target), std::strerror(error));
}

void FileWriter::Impl::append(std::span<const std::byte> bytes) {
  LETHE_CHECK(fd >= 0, "{}: written to after it failed or was committed", path);
  if (buffer.size() + bytes.size() <= kBufferBytes) {
    buffer.insert(buffer.end(), bytes.begin(), bytes.end());
    return;
  }
  flush();
  if (bytes.size() < kBufferBytes) {
    buffer.assign(bytes.begin(), bytes.end());
    return;
  }
  try {
    internal::write_all(fd, bytes, path, flushed);
  } catch (const IoError&) {
    discard();
    throw;
  }
  flushed += bytes.size();
}

void FileWriter::Impl::flush() {
  try {
    internal::write_all(fd, buffer, path, flushed);
  } catch (const IoError&) {
    discard();
    throw;
  }
  flushed += buffer.size();
  buffer.clear();
}

void FileWriter::Impl::commit() {
  LETHE_CHECK(fd >= 0, "{}: committed twice or after a failure", path);
  flush();
  if (::fsync(fd) != 0) fail("flushing to disk", errno);
  // Some file systems (NFS, quotas) report a full disk only here.
  const int closed = ::close(std::exchange(fd, -1));
  if (closed != 0) fail("closing", errno);
  if (::rename(temporary.c_str(), target.c_str()) != 0) fail("giving the file its name", errno);
  temporary.clear();
  sync_directory();
}

void FileWriter::Impl::discard() noexcept {
  if (fd >= 0) ::close(std::exchange(fd, -1));
  if (!temporary.empty()) ::unlink(temporary.c_str());
  temporary.clear();
}

void FileWriter::Impl::fail(std::string_view what, int error) {
  discard();
  throw IoError("{}: {} failed after {} bytes: {}.", path, what, flushed, std::strerror(error));
}

void FileWriter::Impl::sync_directory() {
  // The file is complete and named; a directory that cannot be synced (some network file systems)
  // only weakens what survives a power cut right now, which is no reason to report failure.
  const int directory = ::open(directory_of(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

FileWriter::FileWriter(std::string path) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->target = resolve_target(impl_->path);
  impl_->buffer.reserve(kBufferBytes);
  impl_->create_temporary();
}

FileWriter::~FileWriter() = default;
FileWriter::FileWriter(FileWriter&&) noexcept = default;

void FileWriter::write(std::span<const std::byte> bytes) {
  impl_->append(bytes);
}

void FileWriter::write(std::string_view text) {
  impl_->append(std::as_bytes(std::span(text.data(), text.size())));
}

void FileWriter::write_zeros(uint64_t count) {
  static constexpr std::byte kZeros[4096] = {};
  while (count > 0) {
    const uint64_t piece = std::min<uint64_t>(count, sizeof kZeros);
    impl_->append(std::span(kZeros, piece));
    count -= piece;
  }
}

uint64_t FileWriter::position() const noexcept {
  return impl_->flushed + impl_->buffer.size();
}

void FileWriter::commit() {
  impl_->commit();
}

}  // namespace lethe
