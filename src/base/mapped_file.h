#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace lethe {

/// A regular file mapped read-only into memory; nothing of it is read before it is touched.
///
/// While any MappedFile lives, a SIGBUS inside its mapping (the file was truncated, or its disk
/// went away) prints one paragraph naming the file and ends the process with status 1; a SIGBUS
/// elsewhere keeps its former handling. Movable values share one mapping; any thread may read.
class MappedFile {
 public:
  /// Throws LoadError (missing, not a regular file, not readable, mmap failed). An empty file maps
  /// to an empty span.
  static MappedFile open(const std::string& path);

  std::span<const std::byte> bytes() const noexcept;
  const std::string& path() const noexcept;

  /// Throws IoError if size, modification time or identity of the open file differ from when it
  /// was opened: results computed from it can no longer be trusted. Costs one fstat.
  void check_unchanged() const;

  /// Reads the bytes from `offset` on into memory, past the mapping. Throws IoError if they cannot
  /// be read or the file ends before. Any thread.
  void read(uint64_t offset, std::span<std::byte> into) const;
  /// Lets the system forget these bytes, which it reads again when they are touched.
  void drop_cached(uint64_t offset, uint64_t size) const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lethe
