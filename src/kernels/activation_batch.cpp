#include "kernels/activation_batch.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/integers.h"
#include "tensor/rounding.h"

namespace lethe::kernels {

namespace {

constexpr int64_t kGroup = 32;  // of quantize_int8

/// Bytes from one token's numbers to the next's: cache lines. Near a power of two the tokens of a
/// tile would compete for the same few places of the first cache, of which a page fills each once;
/// so a token of a page or more begins 17 lines from where the one before it does, in a page.
int64_t spaced(int64_t bytes) {
  constexpr int64_t kLine = 64;
  constexpr int64_t kPageLines = 64;
  constexpr int64_t kApart = 17;
  const int64_t lines = ceil_div(bytes, kLine);
  if (lines < kPageLines) return (lines | 1) * kLine;
  return (ceil_div(lines - kApart, kPageLines) * kPageLines + kApart) * kLine;
}

/// Numbers from one token to the next, in each buffer.
struct Room {
  size_t bf16;
  size_t codes;
  size_t scales;
  size_t sums;
  explicit Room(int64_t n)
      : bf16(static_cast<size_t>(spaced(2 * n) / 2)),
        codes(static_cast<size_t>(spaced(n))),
        scales(static_cast<size_t>(ceil_div(n, kGroup))),
        sums(static_cast<size_t>(2 * ceil_div(n, kGroup))) {}
};

/// At least so many; growing only, so that a batch used again clears nothing.
template <typename T>
void make_room(std::vector<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
}

/// 32 columns of the tokens of a tile, zeros where there is no token.
void put_group(const ActivationTile& tile, int64_t g, Int8TileGroup& group) {
  for (size_t t = 0; t < static_cast<size_t>(kTileTokens); ++t) {
    int32_t sums[3] = {};  // of all, of the first half, of the second
    if (t < static_cast<size_t>(tile.count)) {
      const Activation& token = tile.tokens[t];
      std::memcpy(group.codes[t], token.codes + kGroup * g, kGroup);
      group.scales[t] = token.scales[g];
      sums[1] = token.sums[2 * g];
      sums[2] = token.sums[2 * g + 1];
      sums[0] = sums[1] + sums[2];
    } else {
      std::memset(group.codes[t], 0, kGroup);
      group.scales[t] = 0;
    }
    for (size_t k = 0; k < 3; ++k) {
      group.bias[k][t] = -128 * sums[k];
      group.sums[k][t] = static_cast<float>(sums[k]);
    }
  }
}

constexpr int64_t kPiece = 16;  // columns that lie together in an f32 tile

int64_t f32_each(int64_t n) {
  return ceil_div(n, kPiece) * kPiece * kTileTokens;
}

/// Of the tokens of a tile, 16 columns after the other; zeros where there is no token or column.
void put_f32(const ActivationTile& tile, int64_t n, float* out) {
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t count = std::min(kPiece, n - begin);
    for (int64_t t = 0; t < kTileTokens; ++t, out += kPiece) {
      if (t >= tile.count || count < kPiece) std::fill_n(out, kPiece, 0.0F);
      if (t >= tile.count) continue;
      const Activation& token = tile.tokens[t];
      if (token.f32 != nullptr) {
        std::memcpy(out, token.f32 + begin, static_cast<size_t>(count) * sizeof(float));
      } else {
        std::transform(token.bf16 + begin, token.bf16 + begin + count, out, bf16_to_f32);
      }
    }
  }
}

}  // namespace

ActivationBatch::ActivationBatch(ActivationFormat format, const float* x, int64_t tokens, int64_t n,
                                 int64_t stride) {
  reset(format, x, tokens, n, stride);
  fill(kernel_table(), 0, tokens);
}

void ActivationBatch::reset(ActivationFormat format, const float* x, int64_t tokens, int64_t n,
                            int64_t stride) {
  LETHE_CHECK(n > 0 && stride >= 0);
  format_ = format;
  x_ = x;
  n_ = n;
  stride_ = stride;
  const auto count = static_cast<size_t>(tokens);
  tokens_.assign(count, {});
  const Room room(n);
  if (format == ActivationFormat::Bf16) {
    make_room(bf16_, count * room.bf16);
  } else if (format == ActivationFormat::Int8) {
    make_room(codes_, count * room.codes);
    make_room(scales_, count * room.scales);
    make_room(sums_, count * room.sums);
  }
  for (size_t t = 0; t < count; ++t) {
    Activation& token = tokens_[t];
    if (format == ActivationFormat::F32) token.f32 = x + static_cast<int64_t>(t) * stride;
    if (format == ActivationFormat::Bf16) token.bf16 = bf16_.data() + t * room.bf16;
    if (format == ActivationFormat::Int8) {
      token.codes = codes_.data() + t * room.codes;
      token.scales = scales_.data() + t * room.scales;
      token.sums = sums_.data() + t * room.sums;
    }
  }
}

void ActivationBatch::fill(const KernelTable& kernels, int64_t begin, int64_t end) {
  const Room room(n_);
  for (auto t = static_cast<size_t>(begin); t < static_cast<size_t>(end); ++t) {
    const float* x = x_ + static_cast<int64_t>(t) * stride_;
    if (format_ == ActivationFormat::Bf16) {
      kernels.to_bf16(x, n_, bf16_.data() + t * room.bf16);
    } else if (format_ == ActivationFormat::Int8) {
      kernels.quantize_int8(x, n_, codes_.data() + t * room.codes, scales_.data() + t * room.scales,
                            sums_.data() + t * room.sums);
    }
  }
}

void ActivationTiles::reset(ActivationFormat format, int64_t tiles, int64_t n) {
  format_ = format;
  n_ = n;
  groups_ = ceil_div(n, kGroup);
  counts_.assign(static_cast<size_t>(tiles), 0);
  make_room(tokens_, static_cast<size_t>(tiles * kTileTokens));
  if (format != ActivationFormat::Int8) make_room(f32_, static_cast<size_t>(tiles * f32_each(n)));
  if (format == ActivationFormat::Int8) make_room(int8_, static_cast<size_t>(tiles * groups_));
}

void ActivationTiles::add(int64_t tile, const Activation& token) {
  int64_t& count = counts_[static_cast<size_t>(tile)];
  LETHE_DCHECK(count < kTileTokens);
  tokens_[static_cast<size_t>(tile * kTileTokens + count++)] = token;
}

void ActivationTiles::fill(int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end && format_ != ActivationFormat::Int8; ++i) {
    put_f32(tile(i), n_, f32_.data() + i * f32_each(n_));
  }
  for (int64_t i = begin; i < end && format_ == ActivationFormat::Int8; ++i) {
    Int8TileGroup* groups = int8_.data() + i * groups_;
    const ActivationTile present = tile(i);
    for (int64_t g = 0; g < groups_; ++g) put_group(present, g, groups[g]);
  }
}

ActivationTile ActivationTiles::tile(int64_t i) const noexcept {
  return {.count = counts_[static_cast<size_t>(i)],
          .tokens = tokens_.data() + i * kTileTokens,
          .f32 = format_ != ActivationFormat::Int8 ? f32_.data() + i * f32_each(n_) : nullptr,
          .int8 = format_ == ActivationFormat::Int8 ? int8_.data() + i * groups_ : nullptr};
}

}  // namespace lethe::kernels
