#include "base/direct_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <unordered_map>

#include "base/check.h"
#include "base/error.h"

namespace lethe {

namespace {

using Clock = std::chrono::steady_clock;

struct File {
  std::string path;
  int fd = -1;
  bool direct = false;
};

/// What one ticket waits for.
struct Job {
  size_t pieces = 0;  // not ended
  std::string error;  // of the first piece that failed
};

/// One request, and what is left of it after short reads.
struct Piece {
  DirectReader::Ticket ticket = 0;
  DirectReader::Range range;
  size_t done = 0;
  bool direct = false;  // as it was asked for last
};

DirectReader::Range part_of(const DirectReader::Range& range, size_t begin, size_t size) {
  const size_t needed = range.needed > begin ? std::min(size, range.needed - begin) : 0;
  return {range.file, range.offset + begin, range.into.subspan(begin, size), needed};
}

std::unique_ptr<internal::ReadBackend> make_backend(const DirectReader::Options& options) {
  using Backend = DirectReader::Backend;
  if (options.backend != Backend::threads) {
    auto ring = internal::make_uring_backend(options.queue_depth);
    if (ring != nullptr) return ring;
    if (options.backend == Backend::io_uring) {
      throw Error("This system has no io_uring, or forbids it to this process.");
    }
  }
  return internal::make_thread_backend(options.num_threads, options.queue_depth);
}

}  // namespace

struct DirectReader::Impl {
  Options options;
  std::unique_ptr<internal::ReadBackend> backend;
  bool broken = false;  // the queue itself failed
  std::vector<File> files;
  std::unordered_map<Ticket, Job> jobs;
  Ticket next_ticket = 1;
  std::deque<Piece> waiting;
  std::vector<Piece> flying;  // by request id
  std::vector<uint64_t> free_ids;
  int num_flying = 0;
  std::vector<internal::ReadResult> results;
  Clock::time_point busy_since;
  Clock::time_point last_end;
  Stats stats;

  Impl(const Options& o, std::unique_ptr<internal::ReadBackend> b)
      : options(o), backend(std::move(b)) {
    LETHE_CHECK(options.piece_bytes >= kBlock && options.piece_bytes % kBlock == 0);
    flying.resize(static_cast<size_t>(backend->capacity()));
    for (size_t i = flying.size(); i-- > 0;) free_ids.push_back(i);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    try {
      // The system writes into the caller's memory until then.
      while (num_flying > 0 && !broken) {
        waiting.clear();
        take_in(/*wait=*/true);
      }
    } catch (const std::exception&) {
      // Nothing more can be learned from it.
    }
    backend.reset();
    for (const File& file : files) ::close(file.fd);
  }

  void pump();
  void take_in(bool wait);
  void take(Piece piece, int64_t result);
  void end(const Piece& piece, std::string error);
};

/// Keeps the queue full.
void DirectReader::Impl::pump() {
  bool started = false;
  broken = true;  // unless nothing is thrown
  while (!waiting.empty() && !free_ids.empty()) {
    const uint64_t id = free_ids.back();
    free_ids.pop_back();
    Piece& piece = flying[id];
    piece = std::move(waiting.front());
    waiting.pop_front();
    piece.direct = files[static_cast<size_t>(piece.range.file)].direct;
    const std::span<std::byte> rest = piece.range.into.subspan(piece.done);
    if (num_flying++ == 0) busy_since = Clock::now();
    backend->start({.fd = files[static_cast<size_t>(piece.range.file)].fd,
                    .offset = piece.range.offset + piece.done,
                    .into = rest.data(),
                    .size = rest.size(),
                    .id = id});
    started = true;
  }
  if (started) backend->flush();
  broken = false;
}

/// Takes in what has ended; with `wait` at least one piece, if any is in flight.
void DirectReader::Impl::take_in(bool wait) {
  if (num_flying == 0) return;
  results.clear();
  backend->collect(results, wait);
  for (const internal::ReadResult& result : results) {
    free_ids.push_back(result.id);
    last_end = std::max(last_end, result.ended);
    if (--num_flying == 0) {
      const auto end = std::max(last_end, busy_since);
      stats.busy_s += std::chrono::duration<double>(end - busy_since).count();
    }
    take(std::move(flying[result.id]), result.result);
  }
  pump();
}

void DirectReader::Impl::take(Piece piece, int64_t result) {
  File& file = files[static_cast<size_t>(piece.range.file)];
  if (result == -EINVAL && piece.direct) {
    // This file system takes the flag but not the reads.
    static_cast<void>(::fcntl(file.fd, F_SETFL, 0));
    file.direct = false;
    result = -EAGAIN;
  }
  if (result == -EINTR || result == -EAGAIN) {
    waiting.push_front(std::move(piece));
    return;
  }
  const uint64_t at = piece.range.offset + piece.done;
  if (result < 0) {
    const auto error = static_cast<int>(-result);
    end(piece, fmt::format("{}: reading {} bytes at offset {} failed: {}.{}", file.path,
                           piece.range.into.size() - piece.done, at, std::strerror(error),
                           error == EIO ? " The disk reports a fault." : ""));
    return;
  }
  stats.bytes_read += static_cast<uint64_t>(result);
  const size_t before = piece.done;
  piece.done += static_cast<size_t>(result);
  if (piece.done >= piece.range.needed) {
    end(piece, "");
    return;
  }
  const size_t reached = piece.done;
  if (piece.direct) piece.done = piece.done / kBlock * kBlock;  // where a direct read can go on
  if (piece.done == before) {
    // Nothing more, not even a block: here the file ends.
    end(piece, fmt::format("{}: the file ends at {} bytes, but more of it is in use: it was "
                           "truncated or replaced meanwhile. Restore the file and start again.",
                           file.path, piece.range.offset + reached));
    return;
  }
  waiting.push_front(std::move(piece));
}

void DirectReader::Impl::end(const Piece& piece, std::string error) {
  const File& file = files[static_cast<size_t>(piece.range.file)];
  if (!file.direct) {
    static_cast<void>(::posix_fadvise(file.fd, static_cast<off_t>(piece.range.offset),
                                      static_cast<off_t>(piece.range.into.size()),
                                      POSIX_FADV_DONTNEED));
  }
  const auto job = jobs.find(piece.ticket);
  if (job == jobs.end()) return;
  --job->second.pieces;
  if (job->second.error.empty()) job->second.error = std::move(error);
}

DirectReader::DirectReader(const Options& options) : DirectReader(options, make_backend(options)) {}

DirectReader::DirectReader(const Options& options, std::unique_ptr<internal::ReadBackend> backend)
    : impl_(std::make_unique<Impl>(options, std::move(backend))) {}

DirectReader::~DirectReader() = default;

int DirectReader::open(const std::string& path) {
  for (size_t i = 0; i < impl_->files.size(); ++i) {
    if (impl_->files[i].path == path) return static_cast<int>(i);
  }
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY;
  File file{.path = path};
  if (impl_->options.direct) file.fd = ::open(path.c_str(), kFlags | O_DIRECT);
  file.direct = file.fd >= 0;
  if (!file.direct) file.fd = ::open(path.c_str(), kFlags);
  if (file.fd < 0) throw LoadError("{}: cannot be opened: {}.", path, std::strerror(errno));
  // Reading ahead would fetch what nobody asked for.
  if (!file.direct) static_cast<void>(::posix_fadvise(file.fd, 0, 0, POSIX_FADV_RANDOM));
  impl_->files.push_back(std::move(file));
  return static_cast<int>(impl_->files.size()) - 1;
}

DirectReader::Ticket DirectReader::begin(std::span<const Range> ranges) {
  const Ticket ticket = impl_->next_ticket++;
  Job& job = impl_->jobs[ticket];
  for (const Range& range : ranges) {
    LETHE_CHECK(range.offset % kBlock == 0 && range.into.size() % kBlock == 0 &&
                reinterpret_cast<uintptr_t>(range.into.data()) % kBlock == 0);
    LETHE_CHECK(range.needed <= range.into.size());
    for (size_t at = 0; at < range.needed; at += impl_->options.piece_bytes) {
      const size_t size = std::min(impl_->options.piece_bytes, range.into.size() - at);
      impl_->waiting.push_back({.ticket = ticket, .range = part_of(range, at, size)});
      ++job.pieces;
    }
  }
  impl_->pump();
  return ticket;
}

bool DirectReader::is_done(Ticket ticket) {
  impl_->take_in(/*wait=*/false);
  const auto job = impl_->jobs.find(ticket);
  LETHE_CHECK(job != impl_->jobs.end());
  return job->second.pieces == 0;
}

void DirectReader::wait(Ticket ticket) {
  const auto job = impl_->jobs.find(ticket);
  LETHE_CHECK(job != impl_->jobs.end());
  while (job->second.pieces > 0) impl_->take_in(/*wait=*/true);
  const std::string error = std::move(job->second.error);
  impl_->jobs.erase(job);
  if (!error.empty()) throw IoError(std::string(error));
}

const DirectReader::Stats& DirectReader::stats() const noexcept {
  return impl_->stats;
}

std::string_view DirectReader::backend_name() const noexcept {
  return impl_->backend->name();
}

bool DirectReader::is_direct() const noexcept {
  return std::all_of(impl_->files.begin(), impl_->files.end(),
                     [](const File& file) { return file.direct; });
}

}  // namespace lethe
