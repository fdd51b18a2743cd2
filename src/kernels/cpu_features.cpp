#include "kernels/cpu_features.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lethe::kernels {

#if defined(__x86_64__)

namespace {

/// Extended control register 0: the register states that the operating system saves.
uint64_t saved_states() noexcept {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

}  // namespace

CpuFeatures cpu_features() noexcept {
  constexpr uint32_t kFma = 1u << 12;
  constexpr uint32_t kOsXsave = 1u << 27;
  constexpr uint32_t kAvx = 1u << 28;
  constexpr uint32_t kF16c = 1u << 29;
  constexpr uint32_t kAvx2 = 1u << 5;     // of leaf 7
  constexpr uint64_t kSseAndAvx = 0b110;  // of the saved states
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return {};
  const uint32_t basic = ecx;
  if ((basic & kOsXsave) == 0 || (basic & kAvx) == 0) return {};
  if ((saved_states() & kSseAndAvx) != kSseAndAvx) return {};
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) ebx = 0;
  return {.avx2 = (ebx & kAvx2) != 0, .fma = (basic & kFma) != 0, .f16c = (basic & kF16c) != 0};
}

#else

CpuFeatures cpu_features() noexcept {
  return {};
}

#endif

}  // namespace lethe::kernels
