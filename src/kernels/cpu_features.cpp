#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace lethe::kernels {

namespace {

constexpr uint32_t kOsXsave = 1u << 27;  // of leaf 1: XCR0 can be read
constexpr uint32_t kZen4Family = 0x19;   // and Zen 3's, which has no sets that ask

/// Of AMD's processors, as they count it; others have families of their own there.
uint32_t family_of(const X86Identity& identity) noexcept {
  const uint32_t base = identity.basic_eax >> 8 & 0xf;
  return base == 0xf ? base + (identity.basic_eax >> 20 & 0xff) : base;
}

}  // namespace

CpuFeatures features_of(const X86Identity& identity) noexcept {
  constexpr uint32_t kFma = 1u << 12;
  constexpr uint32_t kAvx = 1u << 28;
  constexpr uint32_t kF16c = 1u << 29;
  constexpr uint32_t kAvx2 = 1u << 5;                                      // of leaf 7
  constexpr uint32_t kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  constexpr uint32_t kVbmi = 1u << 1;
  constexpr uint32_t kVnni = 1u << 11;
  constexpr uint32_t kAmxTile = 1u << 24;
  constexpr uint32_t kAmxInt8 = 1u << 25;
  constexpr uint32_t kAvxVnni = 1u << 4;  // of subleaf 1
  constexpr uint32_t kBf16 = 1u << 5;
  constexpr uint64_t kSseAndAvx = 0b110;          // of the saved states
  constexpr uint64_t kAvx512States = 0b11100110;  // with masks and all of 32 wide registers
  constexpr uint64_t kTileStates = 1ull << 17 | 1ull << 18;  // their shapes, their contents
  const auto saves = [&](uint64_t states) { return (identity.saved_states & states) == states; };
  const auto has = [](uint32_t word, uint32_t bits) { return (word & bits) == bits; };

  if (!has(identity.basic_ecx, kOsXsave | kAvx) || !saves(kSseAndAvx)) return {};
  CpuFeatures cpu;
  cpu.narrow_streams = family_of(identity) == kZen4Family;
  cpu.fma = has(identity.basic_ecx, kFma);
  cpu.f16c = has(identity.basic_ecx, kF16c);
  cpu.avx2 = has(identity.extended_ebx, kAvx2);
  cpu.avx_vnni = has(identity.further_eax, kAvxVnni);
  if (saves(kAvx512States)) {
    cpu.avx512 = has(identity.extended_ebx, kAvx512);
    cpu.avx512_vbmi = has(identity.extended_ecx, kVbmi);
    cpu.avx512_vnni = has(identity.extended_ecx, kVnni);
    cpu.avx512_bf16 = has(identity.further_eax, kBf16);
  }
  if (saves(kTileStates)) {
    cpu.amx_tile = has(identity.extended_edx, kAmxTile);
    cpu.amx_int8 = has(identity.extended_edx, kAmxInt8);
  }
  return cpu;
}

#if defined(__x86_64__)

namespace {

/// Extended control register 0.
uint64_t saved_states() noexcept {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

}  // namespace

CpuFeatures cpu_features() noexcept {
  X86Identity id;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &id.basic_eax, &ebx, &id.basic_ecx, &edx) == 0) return {};
  if ((id.basic_ecx & kOsXsave) != 0) id.saved_states = saved_states();
  uint32_t last_subleaf = 0;
  if (__get_cpuid_count(7, 0, &last_subleaf, &id.extended_ebx, &id.extended_ecx,
                        &id.extended_edx) != 0 &&
      last_subleaf >= 1) {
    __get_cpuid_count(7, 1, &id.further_eax, &ebx, &ecx, &edx);
  }
  return features_of(id);
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
