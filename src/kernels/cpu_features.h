#pragma once

namespace lethe::kernels {

/// Instructions that both the processor has and the operating system keeps registers for. All false
/// on processors that are not x86-64.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
};

/// Of the processor this runs on; cheap, any thread.
CpuFeatures cpu_features() noexcept;

}  // namespace lethe::kernels
