#include "ops/few_rows.h"

#include <algorithm>

#include "base/check.h"
#include "ops/weight_replicas.h"
#include "quant/weight.h"
#include "tensor/integers.h"

namespace lethe::ops {

bool FewRows::takes(const Device& device, const Linear& w, int64_t tokens) {
  return !device.official() && w.role == LinearRole::F32 &&
         device.kernels().few_rows_dot != nullptr && tokens >= kernels::kFewRowsTokens &&
         w.out_features() <= kernels::kMostFewRows && w.in_features() % kernels::kFewRowsPiece == 0;
}

FewRows::FewRows(const Device& device, const Linear& w)
    : device_(device), rows_(w.out_features()), columns_(w.in_features()) {
  constexpr int64_t kLine = 64 / int64_t{sizeof(float)};
  const int64_t size = round_up(rows_, kernels::kFewRowsTogether) * columns_;
  room_ = RecycledArray<float>(static_cast<size_t>(size + kLine), Unset());
  const auto address = reinterpret_cast<uintptr_t>(room_.data()) / sizeof(float);
  packed_ = room_.data() + (kLine - static_cast<int64_t>(address) % kLine) % kLine;
  device.for_rows(rows_, [&](int64_t r) {
    RecycledArray<float> row(static_cast<size_t>(columns_), Unset());
    const WeightReplicas* const replicas = device.replicas();
    const quant::Weight near = replicas != nullptr ? replicas->here(w.weight) : w.weight;
    quant::decode_row(near, r, row.begin());
    for (int64_t c = 0; c < columns_; c += kernels::kFewRowsPiece) {
      std::copy_n(row.begin() + c, kernels::kFewRowsPiece,
                  packed_ + kernels::few_rows_place(rows_, columns_, r, c));
    }
  });
}

void FewRows::multiply(const Matrix& x, int64_t begin, int64_t end, Matrix& out) const {
  LETHE_DCHECK(x.cols() == columns_ && out.cols() == rows_);
  device_.kernels().few_rows_dot(packed_, rows_, columns_, x.row(begin).data(), x.cols(),
                                 end - begin, out.row(begin).data());
}

}  // namespace lethe::ops
