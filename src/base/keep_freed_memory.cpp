#include "base/keep_freed_memory.h"

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace lethe {

void keep_freed_memory() noexcept {
#if defined(__GLIBC__)
  constexpr int kKept = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kKept);  // blocks come from the heap ...
  mallopt(M_TRIM_THRESHOLD, kKept);  // ... which keeps its end
  mallopt(M_ARENA_MAX, 1);           // one heap: those of other threads end at 64 MB
#endif
}

}  // namespace lethe
