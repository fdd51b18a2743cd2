#include "kernels/few_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/activation_batch.h"
#include "kernels/kernel_sets.h"
#include "random_weights.h"

namespace lethe::kernels {
namespace {

/// Rows as FewRowsDot reads them, on a cache line; missing rows are of any value.
std::vector<CacheLine> pack(const std::vector<float>& rows, int64_t num_rows, int64_t n) {
  const int64_t padded = (num_rows + kFewRowsTogether - 1) / kFewRowsTogether * kFewRowsTogether;
  std::vector<CacheLine> lines(static_cast<size_t>(padded * n / 16));
  float* const out = lines[0].f32;
  std::fill_n(out, padded * n, 1e30F);
  for (int64_t r = 0; r < num_rows; ++r) {
    for (int64_t c = 0; c < n; c += kFewRowsPiece) {
      std::copy_n(rows.begin() + r * n + c, kFewRowsPiece, out + few_rows_place(num_rows, n, r, c));
    }
  }
  return lines;
}

void expect_scalar_bits(FewRowsDot few_rows_dot, int64_t num_rows, int64_t n, int64_t count) {
  SCOPED_TRACE(std::to_string(num_rows) + " rows of " + std::to_string(n) + ", " +
               std::to_string(count) + " tokens");
  const int64_t stride = n + 3;
  const std::vector<float> rows = testing::random_values(num_rows * n, 1);
  // The last token ends where the buffer does.
  const std::vector<float> tokens = testing::random_values((count - 1) * stride + n, 2);
  const std::vector<CacheLine> packed = pack(rows, num_rows, n);
  std::vector<float> out(static_cast<size_t>(count * num_rows));
  few_rows_dot(packed[0].f32, num_rows, n, tokens.data(), stride, count, out.data());
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t r = 0; r < num_rows; ++r) {
      const float expected =
          scalar_kernels().dot_f32(rows.data() + r * n, tokens.data() + t * stride, n);
      const float got = out[static_cast<size_t>(t * num_rows + r)];
      ASSERT_EQ(std::memcmp(&expected, &got, sizeof(got)), 0) << "row " << r << ", token " << t;
    }
  }
}

TEST(FewRows, HaveTheScalarBits) {
  bool any = false;
  for (const KernelSet& set : kernel_sets()) {
    if (set.table == nullptr || set.table->few_rows_dot == nullptr) continue;
    any = true;
    SCOPED_TRACE(std::string(set.name));
    for (const int64_t n : {16, 240, 256, 272, 528, 4096}) {
      for (const int64_t num_rows : {1, 4, 6, 24, 32}) {
        for (const int64_t count : {1, 2, 5, 15, 16}) {
          expect_scalar_bits(set.table->few_rows_dot, num_rows, n, count);
        }
      }
    }
  }
  if (!any) GTEST_SKIP() << "no set here has few rows";
}

}  // namespace
}  // namespace lethe::kernels
