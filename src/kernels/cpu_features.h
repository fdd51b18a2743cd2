#pragma once

#include <cstdint>

namespace lethe::kernels {

/// Instructions that both the processor has and the operating system keeps registers for. All false
/// on processors of another kind than theirs.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx_vnni = false;  ///< 256-bit vectors in the VEX encoding
  bool avx512 = false;    ///< F, BW, DQ and VL
  bool avx512_vbmi = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_tile = false;  ///< tile registers; to be asked for, too (tile_permission.h)
  bool amx_int8 = false;
  /// Not an instruction: streams come from memory fastest by loads of 32 bytes and without asking
  /// for lines ahead (Zen 4; docs/kernels.md has the measurements).
  bool narrow_streams = false;

  // AArch64, where plain NEON is part of every processor:
  bool dotprod = false;  ///< int8 dot products (ASIMDDP)
  bool i8mm = false;     ///< int8 matrix products (I8MM)
};

/// Of the processor this runs on; cheap, any thread.
CpuFeatures cpu_features() noexcept;

/// What an x86-64 processor says of itself; zero where it says nothing.
struct X86Identity {
  uint32_t basic_eax = 0;  ///< cpuid leaf 1: family, model, stepping
  uint32_t basic_ecx = 0;
  uint32_t extended_ebx = 0;  ///< leaf 7
  uint32_t extended_ecx = 0;
  uint32_t extended_edx = 0;
  uint32_t further_eax = 0;   ///< leaf 7, subleaf 1
  uint64_t saved_states = 0;  ///< XCR0: the register states that the operating system saves
};

/// What it has, if it says so.
CpuFeatures features_of(const X86Identity& identity) noexcept;

}  // namespace lethe::kernels
