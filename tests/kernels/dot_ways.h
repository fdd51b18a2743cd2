#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/activation_batch.h"
#include "kernels/kernel_table.h"

// The ways in which a set takes dots, each giving a matrix [tokens, rows], and what is the same.

namespace lethe::testing {

using quant::Encoding;

/// Equal bits; any NaN equals any other.
template <typename T>
::testing::AssertionResult same(const std::vector<T>& expected, const std::vector<T>& actual) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    if (std::memcmp(&expected[i], &actual[i], sizeof(T)) == 0) continue;
    return ::testing::AssertionFailure()
           << "number " << i << ": " << expected[i] << " became " << actual[i];
  }
  return ::testing::AssertionSuccess();
}

inline std::vector<float> by_row(const kernels::KernelTable& set, Encoding encoding,
                                 const std::vector<kernels::WeightRow>& rows, int64_t n,
                                 const kernels::ActivationBatch& tokens) {
  std::vector<float> out(rows.size() * static_cast<size_t>(tokens.size()));
  std::vector<float> dots(static_cast<size_t>(tokens.size()));
  for (size_t r = 0; r < rows.size(); ++r) {
    set.row_dot[static_cast<size_t>(encoding)](rows[r], n, tokens.data(), tokens.size(),
                                               dots.data());
    for (size_t t = 0; t < dots.size(); ++t) out[t * rows.size() + r] = dots[t];
  }
  return out;
}

inline std::vector<float> by_token(const kernels::KernelTable& set, Encoding encoding,
                                   const std::vector<kernels::WeightRow>& rows, int64_t n,
                                   const kernels::ActivationBatch& tokens) {
  std::vector<float> out;
  for (int64_t t = 0; t < tokens.size(); ++t) {
    std::vector<float> dots(rows.size());
    set.rows_dot[static_cast<size_t>(encoding)](rows.data(), static_cast<int64_t>(rows.size()), n,
                                                tokens[t], dots.data());
    out.insert(out.end(), dots.begin(), dots.end());
  }
  return out;
}

inline std::vector<float> by_tile(const kernels::KernelTable& set, Encoding encoding,
                                  const std::vector<kernels::WeightRow>& rows, int64_t n,
                                  const kernels::ActivationBatch& tokens) {
  const kernels::TileKernel& kernel = set.tile_of(encoding, rows.front().scales_f32);
  const kernels::TileForm form = kernel.form(tokens.format());
  kernels::ActivationTiles tiles;
  tiles.reset(form, (tokens.size() + kernels::kTileTokens - 1) / kernels::kTileTokens, n);
  for (int64_t t = 0; t < tokens.size(); ++t) {
    const bool numbers = form != kernels::TileForm::F32 && t % 2 == 1;
    tiles.add(t / kernels::kTileTokens,
              numbers ? kernels::Activation{.f32 = tokens[t].f32} : tokens[t]);
  }
  tiles.fill(set, 0, tiles.size());
  const int64_t panel_bytes = kernel.panel_bytes(n);
  const int64_t most = kernel.rows_at_once;
  std::vector<std::byte> buffer(static_cast<size_t>(most / kernels::kPanelRows * panel_bytes) + 64);
  std::byte* panels = buffer.data() + (64 - reinterpret_cast<uintptr_t>(buffer.data()) % 64);
  const auto num_rows = static_cast<int64_t>(rows.size());
  std::vector<float> out(rows.size() * static_cast<size_t>(tokens.size()));
  for (int64_t first = 0; first < num_rows; first += most) {
    const int64_t count = std::min(most, num_rows - first);
    for (int64_t r = 0; r < count; r += kernels::kPanelRows) {
      kernel.pack(rows.data() + first + r, std::min(kernels::kPanelRows, count - r), n,
                  panels + r / kernels::kPanelRows * panel_bytes);
    }
    for (int64_t i = 0; i < tiles.size(); ++i) {
      kernel.dot(panels, count, n, tiles.tile(i),
                 out.data() + i * kernels::kTileTokens * num_rows + first, num_rows);
    }
  }
  return out;
}

}  // namespace lethe::testing
