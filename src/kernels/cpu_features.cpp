#include "kernels/cpu_features.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
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
  constexpr uint32_t kAvx2 = 1u << 5;                                      // of leaf 7
  constexpr uint32_t kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  constexpr uint32_t kVbmi = 1u << 1;
  constexpr uint32_t kVnni = 1u << 11;
  constexpr uint32_t kAvxVnni = 1u << 4;  // of subleaf 1
  constexpr uint32_t kBf16 = 1u << 5;
  constexpr uint64_t kSseAndAvx = 0b110;          // of the saved states
  constexpr uint64_t kAvx512States = 0b11100110;  // with masks and all of 32 wide registers
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return {};
  const uint32_t basic = ecx;
  if ((basic & kOsXsave) == 0 || (basic & kAvx) == 0) return {};
  if ((saved_states() & kSseAndAvx) != kSseAndAvx) return {};
  CpuFeatures cpu{.fma = (basic & kFma) != 0, .f16c = (basic & kF16c) != 0};
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return cpu;
  cpu.avx2 = (ebx & kAvx2) != 0;
  const bool saves_avx512 = (saved_states() & kAvx512States) == kAvx512States;
  if (saves_avx512) {
    cpu.avx512 = (ebx & kAvx512) == kAvx512;
    cpu.avx512_vbmi = (ecx & kVbmi) != 0;
    cpu.avx512_vnni = (ecx & kVnni) != 0;
  }
  const uint32_t last_subleaf = eax;
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) {
    cpu.avx_vnni = (eax & kAvxVnni) != 0;
    cpu.avx512_bf16 = saves_avx512 && (eax & kBf16) != 0;
  }
  return cpu;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures cpu_features() noexcept {
  constexpr unsigned long kAsimdDp = 1ul << 20;  // of AT_HWCAP
  constexpr unsigned long kI8mm = 1ul << 13;     // of AT_HWCAP2
  CpuFeatures cpu;
  cpu.dotprod = (getauxval(AT_HWCAP) & kAsimdDp) != 0;
  cpu.i8mm = (getauxval(AT_HWCAP2) & kI8mm) != 0;
  return cpu;
}

#else

CpuFeatures cpu_features() noexcept {
  return {};
}

#endif

}  // namespace lethe::kernels
