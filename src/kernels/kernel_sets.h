#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/cpu_features.h"
#include "kernels/kernel_table.h"

namespace lethe::kernels {

/// One of the sets this program knows.
struct KernelSet {
  std::string_view name;
  const KernelTable* table = nullptr;  ///< null: this machine cannot run it
  std::string why_not;                 ///< then why, in words
  /// "auto" leaves it alone: it rounds what the others do not, or is yet to be run on a processor.
  bool only_by_name = false;
};

/// All sets, from the slowest (scalar) to the fastest. Any thread.
std::span<const KernelSet> kernel_sets();

/// The set called `name`; "auto" is the best that this machine can run. Throws UsageError for an
/// unknown name and for a set that this machine cannot run, listing what there is. Any thread.
const KernelTable& select_kernels(std::string_view name);

/// Why a machine with these features cannot run the set "amx", in words; empty if it can.
/// `request_tiles` (tile_permission.h) is called once all else is there.
std::string why_not_amx(const CpuFeatures& cpu, std::string (*request_tiles)());

}  // namespace lethe::kernels
