#include "ops/embedding.h"

#include "base/error.h"

namespace lethe::ops {

Matrix embed(const Device& device, const quant::Weight& table, std::span<const int32_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= table.rows) {
      throw Error("token {} (number {} of the input) is outside the vocabulary of {} tokens",
                  ids[i], i, table.rows);
    }
  }
  Matrix out(static_cast<int64_t>(ids.size()), table.cols);
  device.for_rows(out.rows(), [&](int64_t r) {
    quant::decode_row(table, ids[static_cast<size_t>(r)], out.row(r).data());
    device.store_bf16(out.row(r));
  });
  return out;
}

}  // namespace lethe::ops
