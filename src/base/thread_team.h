#pragma once

#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace lethe {

/// A persistent team of compute threads; the caller is member 0. Between regions the threads watch
/// for the next one for some 50 microseconds, then sleep (at once if there are more threads than
/// CPUs).
///
/// Pinned workers stay on one CPU each, physical cores first; the caller is left where the system
/// puts it, so that threads which it starts are not pinned by inheritance.
///
/// The work split decides only who computes an element, never how: operations on a team give the
/// same bits for every number of threads. One region at a time; regions do not nest. Exceptions
/// thrown by a part are rethrown in the caller after all parts ended (the first one wins).
class ThreadTeam {
 public:
  enum class Pinning { none, cores };

  /// num_threads >= 1; 0 means default_compute_threads(). With Pinning::cores and more threads than
  /// CPUs none is pinned. Throws Error if the system refuses that many threads.
  explicit ThreadTeam(int num_threads = 0, Pinning pinning = Pinning::none);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const noexcept;
  /// Whether each worker is on a CPU of its own.
  bool is_pinned() const noexcept;

  /// Calls `part(i)` once for every i in [0, size()), each on its own thread, and waits for all.
  void run(FunctionRef<void(int)> part);

  /// Calls `body(begin, end)` over disjoint ranges covering [0, n), handed out dynamically in
  /// pieces of `grain` (>= 1). Runs in the caller alone if n <= grain. A thread whose core does
  /// something else is not waited for: the others do its share.
  void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t begin, int64_t end)> body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe
