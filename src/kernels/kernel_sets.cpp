#include "kernels/kernel_sets.h"

#include <vector>

#include "base/error.h"
#include "kernels/tile_permission.h"

#if defined(__x86_64__)
#include "kernels/amx.h"
#include "kernels/avx2.h"
#include "kernels/avx512.h"
#include "kernels/avx512bf16.h"
#include "kernels/avxvnni.h"
#elif defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neoni8mm.h"
#endif

namespace lethe::kernels {

namespace {

#if defined(__x86_64__)

const KernelTable& avx2_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = scalar_kernels();
    t.name = "avx2";
    install_avx2_dots(t);
    install_avx2_few_rows(t);
    install_avx2_activations(t);
    install_avx2_wide_row_dots(t);
    install_avx2_bf16_rows(t);
    install_avx2_fp8_rows(t);
    install_avx2_int8_row_dots(t);
    install_avx2_int8_tile(t);
    install_avx2_wide_tile(t);
    install_avx2_index_scores(t);
    install_avx2_attention(t);
    return t;
  }();
  return table;
}

const KernelTable& avxvnni_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = avx2_kernels();
    t.name = "avxvnni";
    install_avxvnni_int8_rows(t);
    install_avxvnni_int8_tile(t);
    return t;
  }();
  return table;
}

const KernelTable& avx512_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = avx2_kernels();
    t.name = "avx512";
    install_avx512_f32(t);
    install_avx512_few_rows(t);
    install_avx512_fp8_rows(t);
    install_avx512_activations(t);
    install_avx512_int8_rows(t, cpu_features().narrow_streams);
    install_avx512_int8_tile(t);
    install_avx512_index_scores(t);
    install_avx512_attention(t);
    return t;
  }();
  return table;
}

const KernelTable& avx512bf16_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = avx512_kernels();
    t.name = "avx512bf16";
    install_avx512bf16_dots(t, cpu_features().narrow_streams);
    install_avx512bf16_fp8_dots(t, cpu_features().narrow_streams);
    install_avx512bf16_attention(t);
    return t;
  }();
  return table;
}

const KernelTable& amx_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = avx512bf16_kernels();
    t.name = "amx";
    install_amx_int8_tile(t);
    return t;
  }();
  return table;
}

std::string missing_for_avx2(const CpuFeatures& cpu) {
  std::string missing;
  if (!cpu.avx2) missing += " AVX2";
  if (!cpu.fma) missing += " FMA";
  if (!cpu.f16c) missing += " F16C";
  return missing;
}

std::string missing_for_avxvnni(const CpuFeatures& cpu) {
  std::string missing = missing_for_avx2(cpu);
  if (!cpu.avx_vnni) missing += " AVX-VNNI";
  return missing;
}

std::string missing_for_avx512(const CpuFeatures& cpu) {
  std::string missing = missing_for_avx2(cpu);
  if (!cpu.avx512) missing += " AVX-512 (F, BW, DQ, VL)";
  if (!cpu.avx512_vbmi) missing += " AVX-512 VBMI";
  if (!cpu.avx512_vnni) missing += " AVX-512 VNNI";
  return missing;
}

std::string missing_for_avx512bf16(const CpuFeatures& cpu) {
  std::string missing = missing_for_avx512(cpu);
  if (!cpu.avx512_bf16) missing += " AVX-512 BF16";
  return missing;
}

std::string missing_for_amx(const CpuFeatures& cpu) {
  std::string missing = missing_for_avx512bf16(cpu);
  if (!cpu.amx_tile) missing += " AMX-TILE";
  if (!cpu.amx_int8) missing += " AMX-INT8";
  return missing;
}

constexpr const char* kLacks = "this processor (or its system) lacks";

/// `table` is called only if nothing is missing.
KernelSet set_of(std::string_view name, const std::string& missing,
                 const KernelTable& (*table)() noexcept) {
  if (!missing.empty()) return {name, nullptr, kLacks + missing};
  return {name, &table(), {}};
}

KernelSet avx2_set() {
  return set_of("avx2", missing_for_avx2(cpu_features()), avx2_kernels);
}
KernelSet avxvnni_set() {
  return set_of("avxvnni", missing_for_avxvnni(cpu_features()), avxvnni_kernels);
}
KernelSet avx512_set() {
  return set_of("avx512", missing_for_avx512(cpu_features()), avx512_kernels);
}
KernelSet avx512bf16_set() {
  return set_of("avx512bf16", missing_for_avx512bf16(cpu_features()), avx512bf16_kernels);
}
KernelSet amx_set() {
  const std::string why_not = why_not_amx(cpu_features(), request_tile_registers);
  if (!why_not.empty()) return {"amx", nullptr, why_not};
  return {"amx", &amx_kernels(), {}};
}

#else

KernelSet avx2_set() {
  return {"avx2", nullptr, "it is for x86-64 processors"};
}
KernelSet avxvnni_set() {
  return {"avxvnni", nullptr, "it is for x86-64 processors"};
}
KernelSet avx512_set() {
  return {"avx512", nullptr, "it is for x86-64 processors"};
}
KernelSet avx512bf16_set() {
  return {"avx512bf16", nullptr, "it is for x86-64 processors"};
}
KernelSet amx_set() {
  return {"amx", nullptr, "it is for x86-64 processors"};
}

#endif

#if defined(__aarch64__)

const KernelTable& neon_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = scalar_kernels();
    t.name = "neon";
    install_neon_dots(t);
    install_neon_activations(t);
    install_neon_wide_row_dots(t);
    install_neon_f32_tile(t);
    install_neon_int8_rows(t);
    install_neon_int8_tile(t);
    install_neon_index_scores(t);
    install_neon_attention(t);
    return t;
  }();
  return table;
}

const KernelTable& neon_i8mm_kernels() noexcept {
  static const KernelTable table = [] {
    KernelTable t = neon_kernels();
    t.name = "neon-i8mm";
    install_neoni8mm_int8_tile(t);
    return t;
  }();
  return table;
}

KernelSet neon_set() {
  if (!cpu_features().dotprod) return {"neon", nullptr, "this processor lacks asimddp"};
  return {"neon", &neon_kernels(), {}};
}
KernelSet neon_i8mm_set() {
  const CpuFeatures cpu = cpu_features();
  std::string missing = cpu.dotprod ? "" : " asimddp";
  if (!cpu.i8mm) missing += " i8mm";
  if (!missing.empty()) return {"neon-i8mm", nullptr, "this processor lacks" + missing};
  return {"neon-i8mm", &neon_i8mm_kernels(), {}};
}

#else

KernelSet neon_set() {
  return {"neon", nullptr, "it is for 64-bit ARM processors"};
}
KernelSet neon_i8mm_set() {
  return {"neon-i8mm", nullptr, "it is for 64-bit ARM processors"};
}

#endif

std::vector<KernelSet> find_sets() {
  std::vector<KernelSet> sets;
  sets.push_back({"scalar", &scalar_kernels(), {}});
  sets.push_back(avx2_set());
  sets.push_back(avxvnni_set());
  sets.push_back(avx512_set());
  sets.push_back(avx512bf16_set());
  sets.push_back(amx_set());
  sets.back().only_by_name = true;
  sets.push_back(neon_set());
  sets.push_back(neon_i8mm_set());
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

#if defined(__x86_64__)

std::string why_not_amx(const CpuFeatures& cpu, std::string (*request_tiles)()) {
  const std::string missing = missing_for_amx(cpu);
  return missing.empty() ? request_tiles() : kLacks + missing;
}

#else

std::string why_not_amx(const CpuFeatures&, std::string (*)()) {
  return "it is for x86-64 processors";
}

#endif

std::span<const KernelSet> kernel_sets() {
  static const std::vector<KernelSet> sets = find_sets();
  return sets;
}

const KernelTable& kernel_table() {
  const KernelTable* best = &scalar_kernels();
  for (const KernelSet& set : kernel_sets()) {
    if (set.table != nullptr && !set.only_by_name) best = set.table;
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
