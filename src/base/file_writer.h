#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lethe {

/// Writes a file as a whole or not at all: bytes go to a temporary beside it, which takes the final
/// name at commit(). A writer destroyed before commit() removes its temporary; an existing file of
/// that name is untouched until then. Sequential; one thread.
class FileWriter {
 public:
  /// Throws IoError if the directory does not exist or is not writable.
  explicit FileWriter(std::string path);
  ~FileWriter();
  FileWriter(FileWriter&&) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;

  /// Appends. Throws IoError naming the file and the reason ("No space left on device" with the
  /// bytes written so far); the temporary is removed.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Appends `count` zero bytes.
  void write_zeros(uint64_t count);
  uint64_t position() const noexcept;

  /// Flushes to disk and renames into place.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe
