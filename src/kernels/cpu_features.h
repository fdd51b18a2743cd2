#pragma once

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

  // AArch64, where plain NEON is part of every processor:
  bool dotprod = false;  ///< int8 dot products (ASIMDDP)
  bool i8mm = false;     ///< int8 matrix products (I8MM)
};

/// Of the processor this runs on; cheap, any thread.
CpuFeatures cpu_features() noexcept;

}  // namespace lethe::kernels
