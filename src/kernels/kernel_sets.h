#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/kernel_table.h"

namespace lethe::kernels {

/// One of the sets this program knows.
struct KernelSet {
  std::string_view name;
  const KernelTable* table = nullptr;  ///< null: this machine cannot run it
  std::string why_not;                 ///< then why, in words
  bool is_rougher = false;  ///< faster, but rounds what the others do not: "auto" leaves it alone
};

/// All sets, from the slowest (scalar) to the fastest. Any thread.
std::span<const KernelSet> kernel_sets();

/// The set called `name`; "auto" is the best that this machine can run. Throws UsageError for an
/// unknown name and for a set that this machine cannot run, listing what there is. Any thread.
const KernelTable& select_kernels(std::string_view name);

}  // namespace lethe::kernels
