#include "kernels/neon.h"
#include "kernels/neon_decoders.h"

// Tiles in f32. A panel holds 16 rows decoded, 16 columns of each after the other. The 16 lanes of
// a sum are columns and take 4 vectors; a step adds one of the four for 4 rows with 4 tokens, so
// that 16 sums stay in registers, and each number is read once for each vector of the other side.
// Lanes do not meet before the end: the sums are the scalar set's, unfused.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int kTogether = 4;                           // rows, and tokens, of a step
constexpr int64_t kPieceFloats = kPanelRows * kPiece;  // of a panel, and of a tile
constexpr int64_t kPart = 16;  // pieces whose panel and tile stay in the first cache

/// FP8 again, with its NaNs.
LETHE_NEON_INLINE void put_nans(const std::byte* codes, float* out) noexcept {
  for (int64_t i = 0; i < kPiece; ++i) {
    if ((static_cast<uint8_t>(codes[i]) & 0x7f) == 0x7f) out[i] = __builtin_nanf("");
  }
}
struct NanFp8Cursor : Fp8Cursor {
  using Fp8Cursor::Fp8Cursor;
  LETHE_NEON_INLINE void store_next(float* out) noexcept {
    const std::byte* const codes = p;
    largest = vdupq_n_u8(0);
    float32x4_t v[4];
    next(v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) vst1q_f32(out + 4 * i, v[i]);
    if (has_nan()) [[unlikely]] {
      put_nans(codes, out);
    }
  }
};
template <typename Cursor>
struct Storing : Cursor {
  using Cursor::Cursor;
  LETHE_NEON_INLINE void store_next(float* out) noexcept {
    float32x4_t v[4];
    this->next(v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) vst1q_f32(out + 4 * i, v[i]);
  }
};

template <typename Cursor>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  const int64_t whole = n / kPiece;
  const int64_t rest = n - whole * kPiece;
  for (int64_t r = 0; r < kPanelRows; ++r) {
    float* out = reinterpret_cast<float*>(panel) + r * kPiece;
    if (r >= num_rows) {
      for (int64_t i = 0; i < whole + (rest != 0 ? 1 : 0); ++i, out += kPieceFloats) {
        __builtin_memset(out, 0, kPiece * sizeof(float));
      }
      continue;
    }
    Cursor cursor(rows[r]);
    for (int64_t i = 0; i < whole; ++i, out += kPieceFloats) cursor.store_next(out);
    if (rest != 0) {
      const PaddedWeights<Cursor> padded(cursor.p, rest);
      cursor.p = padded.data;
      cursor.store_next(out);
    }
  }
}

/// Adds one vector of lanes of `pieces` pieces. weights, x: of the first row and token; sums:
/// [token][row], 4 vectors from one to the next.
LETHE_NEON_INLINE void multiply(const float* weights, const float* x, int64_t pieces,
                                float32x4_t (*totals)[kTogether][4], int lanes) noexcept {
  float32x4_t sums[kTogether][kTogether];
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) sums[t][r] = totals[t][r][lanes];
  }
  for (int64_t i = 0; i < pieces; ++i, weights += kPieceFloats, x += kPieceFloats) {
    float32x4_t w[kTogether];
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) w[r] = vld1q_f32(weights + r * kPiece);
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      const float32x4_t v = vld1q_f32(x + t * kPiece);
#pragma GCC unroll 4
      for (int r = 0; r < kTogether; ++r) sums[t][r] = add_product(sums[t][r], v, w[r]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) totals[t][r][lanes] = sums[t][r];
  }
}

void tile_dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
              float* out, int64_t out_stride) noexcept {
  float32x4_t totals[kPanelRows / kTogether][kTileTokens][kTogether][4];
  __builtin_memset(totals, 0, sizeof(totals));
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  for (int64_t begin = 0; begin < pieces; begin += kPart) {
    const int64_t count = pieces - begin < kPart ? pieces - begin : kPart;
    const float* weights = reinterpret_cast<const float*>(panel) + begin * kPieceFloats;
    const float* x = tile.f32 + begin * kPieceFloats;
    for (int64_t r = 0; r < num_rows; r += kTogether) {
      for (int64_t t = 0; t < tile.count; t += kTogether) {
        for (int lanes = 0; lanes < 4; ++lanes) {
          multiply(weights + r * kPiece + 4 * lanes, x + t * kPiece + 4 * lanes, count,
                   totals[r / kTogether] + t, lanes);
        }
      }
    }
  }
  for (int64_t t = 0; t < tile.count; ++t) {
    for (int64_t r = 0; r < num_rows; ++r) {
      out[t * out_stride + r] = sum_lanes(totals[r / kTogether][t][r % kTogether]);
    }
  }
}

}  // namespace

void install_neon_f32_tile(KernelTable& table) noexcept {
  const auto set = [&table](Encoding encoding, PackRows pack_rows, int64_t scale_multiple) {
    table.tile[static_cast<size_t>(encoding)] = {.group_bytes = 2 * kPieceFloats * 4,
                                                 .scale_multiple = scale_multiple,
                                                 .pack = pack_rows,
                                                 .dot = tile_dot};
  };
  set(Encoding::F32, pack<Storing<F32Cursor>>, 1);
  set(Encoding::BF16, pack<Storing<Bf16Cursor>>, 1);
  set(Encoding::F16, pack<Storing<F16Cursor>>, 1);
  set(Encoding::Fp8Block, pack<NanFp8Cursor>, kPiece);
  set(Encoding::Fp8Row, pack<NanFp8Cursor>, kPiece);
}

}  // namespace lethe::kernels
