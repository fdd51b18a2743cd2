#include "tensor/name_index.h"

#include <algorithm>
#include <numeric>

namespace lethe {

const TensorView* NameIndex::build(const std::vector<TensorView>& tensors) {
  sorted_.resize(tensors.size());
  std::iota(sorted_.begin(), sorted_.end(), 0U);
  std::sort(sorted_.begin(), sorted_.end(),
            [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
  const auto twice = std::adjacent_find(
      sorted_.begin(), sorted_.end(),
      [&](uint32_t a, uint32_t b) { return tensors[a].name == tensors[b].name; });
  return twice == sorted_.end() ? nullptr : &tensors[*twice];
}

const TensorView* NameIndex::find(const std::vector<TensorView>& tensors,
                                  std::string_view name) const {
  const auto at = std::lower_bound(
      sorted_.begin(), sorted_.end(), name,
      [&](uint32_t index, std::string_view wanted) { return tensors[index].name < wanted; });
  if (at == sorted_.end() || tensors[*at].name != name) return nullptr;
  return &tensors[*at];
}

}  // namespace lethe
