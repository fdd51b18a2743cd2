#include "kernels/kernel_sets.h"

#include <vector>

#include "base/error.h"
#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include "kernels/avx2.h"
#endif

namespace lethe::kernels {

namespace {

#if defined(__x86_64__)

const KernelTable& avx2_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = scalar_kernels();
    t.name = "avx2";
    install_avx2_dots(t);
    install_avx2_wide_row_dots(t);
    install_avx2_int8_row_dots(t);
    return t;
  }();
  return table;
}

KernelSet avx2_set() {
  const CpuFeatures cpu = cpu_features();
  std::string missing;
  if (!cpu.avx2) missing += " AVX2";
  if (!cpu.fma) missing += " FMA";
  if (!cpu.f16c) missing += " F16C";
  if (!missing.empty()) return {"avx2", nullptr, "this processor (or its system) lacks" + missing};
  return {"avx2", &avx2_kernels(), {}};
}

#else

KernelSet avx2_set() {
  return {"avx2", nullptr, "it is for x86-64 processors"};
}

#endif

std::vector<KernelSet> find_sets() {
  std::vector<KernelSet> sets;
  sets.push_back({"scalar", &scalar_kernels(), {}});
  sets.push_back(avx2_set());
  return sets;
}

std::string list_of_sets() {
  std::string list;
  for (const KernelSet& set : kernel_sets()) {
    list += list.empty() ? "" : ", ";
    list += set.name;
    if (set.table == nullptr) list += " (not here: " + set.why_not + ")";
  }
  return list;
}

}  // namespace

std::span<const KernelSet> kernel_sets() {
  static const std::vector<KernelSet> sets = find_sets();
  return sets;
}

const KernelTable& kernel_table() {
  const KernelTable* best = &scalar_kernels();
  for (const KernelSet& set : kernel_sets()) {
    if (set.table != nullptr) best = set.table;
  }
  return *best;
}

const KernelTable& select_kernels(std::string_view name) {
  if (name == "auto") return kernel_table();
  for (const KernelSet& set : kernel_sets()) {
    if (set.name == name && set.table != nullptr) return *set.table;
  }
  throw UsageError("kernel set \"{}\" cannot be used; there are auto, {}", name, list_of_sets());
}

}  // namespace lethe::kernels
