#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace lethe::kernels {

/// What an instruction set can do at best on one thread of this machine. Loops of nothing but its
/// dot products, in registers: each runs `rounds` times over a fixed piece of work and returns how
/// many operations that were (a multiply-add is two). And a loop of nothing but its loads.
struct PeakProbe {
  /// int8 x int8 into int32, with the instructions that the set's products of many tokens use.
  double (*int8_ops)(int64_t rounds) noexcept;
  /// Products of bf16 into f32: widened where the set has no instruction for them.
  double (*bf16_flops)(int64_t rounds) noexcept;
  /// Reads `lines` lines of 64 bytes from a line on, asking for what lies `ahead` bytes further;
  /// returns something that depends on all of them.
  uint64_t (*read)(const std::byte* memory, int64_t lines, int64_t ahead) noexcept;
};

/// The probe of a set (kernel_sets.h).
PeakProbe peak_probe(const KernelTable& set) noexcept;

/// Parts of it, the further ones only for a CPU that has the instructions of the set of that name.
void install_scalar_peak_probe(PeakProbe& probe) noexcept;
void install_avx2_peak_probe(PeakProbe& probe) noexcept;
void install_avxvnni_peak_probe(PeakProbe& probe) noexcept;
void install_avx512_peak_probe(PeakProbe& probe) noexcept;
void install_avx512bf16_peak_probe(PeakProbe& probe) noexcept;
void install_amx_peak_probe(PeakProbe& probe) noexcept;
void install_neon_peak_probe(PeakProbe& probe) noexcept;
void install_neoni8mm_peak_probe(PeakProbe& probe) noexcept;

}  // namespace lethe::kernels
