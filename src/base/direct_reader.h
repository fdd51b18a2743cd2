#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/read_backend.h"

namespace lethe {

/// Reads ranges of files into memory in the background, past the page cache: with O_DIRECT where
/// the file system can, else the pages that were read are given back to the system. Many requests
/// are in flight at a time, by io_uring or, where that is missing or forbidden, by pread on a few
/// threads.
///
/// A plain object for one thread; only the reading itself happens elsewhere. What is asked for
/// first is read first. More pieces than the queue holds wait until a call takes in what has ended.
class DirectReader {
 public:
  enum class Backend { best, io_uring, threads };
  struct Options {
    Backend backend = Backend::best;
    size_t piece_bytes = size_t{1} << 20;  ///< of one request; a multiple of kBlock
    int queue_depth = 256;                 ///< requests in flight at most
    int num_threads = 16;                  ///< of the fallback
    bool direct = true;                    ///< false: through the page cache all the same
  };
  /// What offsets, addresses and sizes must be multiples of, bytes.
  static constexpr size_t kBlock = 4096;

  /// Throws Error if Backend::io_uring is wanted and this system has none.
  explicit DirectReader(const Options& options);
  /// For tests: on a backend of one's own.
  DirectReader(const Options& options, std::unique_ptr<internal::ReadBackend> backend);
  /// Waits for what is in flight; what has not begun is dropped.
  ~DirectReader();
  DirectReader(const DirectReader&) = delete;
  DirectReader& operator=(const DirectReader&) = delete;

  /// Opens a file and gives its number, the same for the same path. Throws LoadError.
  int open(const std::string& path);

  struct Range {
    int file = -1;
    uint64_t offset = 0;
    std::span<std::byte> into;
    size_t needed = 0;  ///< of the bytes: beyond them the file may end
  };
  using Ticket = int64_t;

  /// Begins to read the ranges, and returns at once. The memory must stay until the ticket is done.
  Ticket begin(std::span<const Range> ranges);
  /// Whether all was read, or failed. Never waits.
  bool is_done(Ticket ticket);
  /// Waits until all of the ticket has ended, and forgets it. Throws IoError naming the file if
  /// something could not be read: the file ended too early, or the disk reports a fault.
  void wait(Ticket ticket);

  struct Stats {
    uint64_t bytes_read = 0;
    double busy_s = 0;  ///< time with something in flight, of reads that calls have taken in
  };
  const Stats& stats() const noexcept;
  std::string_view backend_name() const noexcept;
  /// Whether all opened files are read with O_DIRECT.
  bool is_direct() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe
