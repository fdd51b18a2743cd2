#include "text/char_class.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

namespace lethe {
namespace {

constexpr size_t kCodePoints = 0x110000;

uint8_t class_of_category(UCharCategory category) {
  const uint32_t bit = U_MASK(category);
  if (bit & (U_GC_L_MASK | U_GC_M_MASK)) return CharClass::kWord;
  if (bit & U_GC_N_MASK) return CharClass::kNumber;
  if (bit & (U_GC_P_MASK | U_GC_S_MASK)) return CharClass::kPunct;
  return 0;
}

std::vector<uint8_t> build_table() {
  std::vector<uint8_t> table(kCodePoints, 0);
  UCharEnumTypeRange* fill = [](const void* context, UChar32 start, UChar32 limit,
                                UCharCategory category) -> UBool {
    auto& out = *static_cast<std::vector<uint8_t>*>(const_cast<void*>(context));
    std::fill(out.begin() + start, out.begin() + limit, class_of_category(category));
    return true;
  };
  u_enumCharTypes(fill, &table);
  // Every White_Space character lies below U+3001.
  for (UChar32 c = 0; c <= 0x3000; ++c) {
    if (u_isUWhiteSpace(c)) table[static_cast<size_t>(c)] |= CharClass::kSpace;
  }
  table['\r'] |= CharClass::kBreak;
  table['\n'] |= CharClass::kBreak;
  using Range = std::pair<size_t, size_t>;
  for (const auto& [first, last] : {Range{0x4E00, 0x9FA5}, Range{0x3040, 0x30FF}}) {
    for (size_t c = first; c <= last; ++c) table[c] |= CharClass::kCjk;
  }
  return table;
}

}  // namespace

const uint8_t* char_class_table() {
  static const std::vector<uint8_t> table = build_table();
  return table.data();
}

}  // namespace lethe
