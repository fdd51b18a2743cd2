#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kLanes = 64;

/// Keeps a value alive without storing it.
template <typename T>
void use(T& value) {
  asm volatile("" : "+m"(value));
}

double scalar_int8_ops(int64_t rounds) noexcept {
  int16_t a[kLanes];
  int16_t b[kLanes];
  int32_t sums[kLanes] = {};
  for (int i = 0; i < kLanes; ++i) {
    a[i] = static_cast<int16_t>(i - 30);
    b[i] = static_cast<int16_t>(7 - i);
  }
  for (int64_t r = 0; r < rounds; ++r) {
    use(a);
    for (int i = 0; i < kLanes; ++i) sums[i] += a[i] * b[i];
  }
  use(sums);
  return 2.0 * kLanes * static_cast<double>(rounds);
}

double scalar_bf16_flops(int64_t rounds) noexcept {
  float a[kLanes];
  float b[kLanes];
  float sums[kLanes] = {};
  for (int i = 0; i < kLanes; ++i) {
    a[i] = static_cast<float>(i);
    b[i] = 1.0f / static_cast<float>(i + 1);
  }
  for (int64_t r = 0; r < rounds; ++r) {
    use(a);
    for (int i = 0; i < kLanes; ++i) sums[i] += a[i] * b[i];
  }
  use(sums);
  return 2.0 * kLanes * static_cast<double>(rounds);
}

/// Sums of 8-byte words: as many as a line has, so that no addition waits for the one before.
uint64_t scalar_read(const std::byte* memory, int64_t lines, int64_t ahead) noexcept {
  constexpr int kWords = 8;
  const auto* words = reinterpret_cast<const uint64_t*>(memory);
  uint64_t sums[kWords] = {};
  for (int64_t i = 0; i < lines; ++i, words += kWords) {
    __builtin_prefetch(reinterpret_cast<const std::byte*>(words) + ahead);
    for (int k = 0; k < kWords; ++k) sums[k] += words[k];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  return sum;
}

}  // namespace

void install_scalar_peak_probe(PeakProbe& probe) noexcept {
  probe.read = scalar_read;
  probe.int8_ops = scalar_int8_ops;
  probe.bf16_flops = scalar_bf16_flops;
}

PeakProbe peak_probe([[maybe_unused]] const KernelTable& set) noexcept {
  PeakProbe probe{};
  install_scalar_peak_probe(probe);
#if defined(__x86_64__)
  const bool amx = set.name == "amx";
  const bool avx512bf16 = amx || set.name == "avx512bf16";
  const bool avx512 = avx512bf16 || set.name == "avx512";
  const bool avxvnni = set.name == "avxvnni";
  if (avx512 || avxvnni || set.name == "avx2") install_avx2_peak_probe(probe);
  if (avxvnni) install_avxvnni_peak_probe(probe);
  if (avx512) install_avx512_peak_probe(probe);
  if (avx512bf16) install_avx512bf16_peak_probe(probe);
  if (amx) install_amx_peak_probe(probe);
#elif defined(__aarch64__)
  const bool i8mm = set.name == "neon-i8mm";
  if (i8mm || set.name == "neon") install_neon_peak_probe(probe);
  if (i8mm) install_neoni8mm_peak_probe(probe);
#endif
  return probe;
}

}  // namespace lethe::kernels
