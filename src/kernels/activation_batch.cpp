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
constexpr int64_t kLine = 64;
int64_t spaced(int64_t bytes) {
  constexpr int64_t kPageLines = 64;
  constexpr int64_t kApart = 17;
  const int64_t lines = ceil_div(bytes, kLine);
  if (lines < kPageLines) return (lines | 1) * kLine;
  return (ceil_div(lines - kApart, kPageLines) * kPageLines + kApart) * kLine;
}

/// Numbers from one token to the next, in each buffer.
struct Room {
  size_t bf16;  ///< lines
  size_t codes;
  size_t scales;
  size_t sums;
  explicit Room(int64_t n)
      : bf16(static_cast<size_t>(spaced(2 * n) / kLine)),
        codes(static_cast<size_t>(spaced(n))),
        scales(static_cast<size_t>(ceil_div(n, kGroup))),
        sums(static_cast<size_t>(2 * ceil_div(n, kGroup))) {}
};

/// At least so many; growing only, so that a batch used again clears nothing.
template <typename T>
void make_room(std::vector<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
}

/// Sums of codes of the halves of a group, by token.
using HalfSums = int32_t[2][kTileTokens];

/// What follows from the sums of all tokens.
void put_sums(const HalfSums& halves, Int8TileGroup& group) {
  for (size_t t = 0; t < static_cast<size_t>(kTileTokens); ++t) {
    const int32_t sums[3] = {halves[0][t] + halves[1][t], halves[0][t], halves[1][t]};
    for (size_t k = 0; k < 3; ++k) {
      group.bias[k][t] = -128 * sums[k];
      group.sums[k][t] = static_cast<float>(sums[k]);
    }
  }
}

/// 32 columns of a token that is not there.
void put_nothing(size_t t, HalfSums& halves, Int8TileGroup& group) {
  std::memset(group.codes[t], 0, kGroup);
  group.scales[t] = 0;
  halves[0][t] = halves[1][t] = 0;
}

/// `count` groups of a tile's tokens, from group `first` on; zeros where there is no token.
class GroupBlock {
 public:
  static constexpr int64_t kMost = 128;  // groups: a token is read in long runs

  GroupBlock(const ActivationTile& tile, int64_t n, int64_t first, int64_t count)
      : tile_(tile), n_(n), first_(first), count_(static_cast<size_t>(count)) {}

  void put(const KernelTable& kernels, Int8TileGroup* groups) {
    for (size_t t = 0; t < static_cast<size_t>(kTileTokens); ++t) {
      if (t >= static_cast<size_t>(tile_.count)) {
        for (size_t g = 0; g < count_; ++g) put_nothing(t, halves_[g], groups[g]);
      } else if (tile_.tokens[t].codes == nullptr) {
        put_numbers(kernels, t, groups);
      } else {
        const Activation& token = tile_.tokens[t];
        put_codes(token.codes + kGroup * first_, token.scales + first_, token.sums + 2 * first_, t,
                  groups);
      }
    }
    for (size_t g = 0; g < count_; ++g) put_sums(halves_[g], groups[g]);
  }

 private:
  void put_numbers(const KernelTable& kernels, size_t t, Int8TileGroup* groups) {
    alignas(64) int8_t codes[kGroup * kMost];
    float scales[kMost];
    int32_t sums[2 * kMost];
    const int64_t begin = kGroup * first_;
    const auto count = static_cast<int64_t>(count_);
    const int64_t columns = std::min(kGroup * count, n_ - begin);
    if (columns < kGroup * count) std::memset(codes, 0, sizeof(codes));
    kernels.quantize_int8(tile_.tokens[t].f32 + begin, columns, codes, scales, sums);
    put_codes(codes, scales, sums, t, groups);
  }

  void put_codes(const int8_t* codes, const float* scales, const int32_t* sums, size_t t,
                 Int8TileGroup* groups) {
    for (size_t g = 0; g < count_; ++g) {
      std::memcpy(groups[g].codes[t], codes + kGroup * static_cast<int64_t>(g), kGroup);
      groups[g].scales[t] = scales[g];
      halves_[g][0][t] = sums[2 * g];
      halves_[g][1][t] = sums[2 * g + 1];
    }
  }

  const ActivationTile& tile_;
  int64_t n_;
  int64_t first_;
  size_t count_;
  HalfSums halves_[kMost];
};

constexpr int64_t kPiece = 16;         // columns that lie together in an f32 tile
constexpr int64_t kRun = 64 * kPiece;  // columns of a token that are read one after the other

/// Columns [begin, begin + count) of a token to `out`, which is kPiece numbers of a tile.
void put_piece(const Activation& token, int64_t begin, int64_t count, float* out) {
  if (token.bf16 != nullptr) {
    std::transform(token.bf16 + begin, token.bf16 + begin + count, out, bf16_to_f32);
  } else {
    __builtin_prefetch(token.f32 + begin + kRun);
    std::memcpy(out, token.f32 + begin, static_cast<size_t>(count) * sizeof(float));
  }
}

/// Of the tokens of a tile, 16 columns after the other; zeros where there is no token or column.
/// Tokens are read in runs, which the machine can foresee, of as much as the caches hold.
void put_f32(const ActivationTile& tile, int64_t n, float* out) {
  for (int64_t run = 0; run < n; run += kRun) {
    const int64_t end = std::min(run + kRun, n);
    for (int64_t t = 0; t < kTileTokens; ++t) {
      float* to = out + run * kTileTokens + t * kPiece;
      for (int64_t begin = run; begin < end; begin += kPiece, to += kTileTokens * kPiece) {
        if (t < tile.count && end - begin >= kPiece) {
          put_piece(tile.tokens[t], begin, kPiece, to);
          continue;
        }
        std::fill_n(to, kPiece, 0.0F);
        if (t < tile.count) put_piece(tile.tokens[t], begin, end - begin, to);
      }
    }
  }
}

/// Columns [begin, end) of a token, of a block of a bf16 tile, to `out`; zeros up to a whole line.
void put_bf16(const KernelTable& kernels, const Activation& token, int64_t begin, int64_t end,
              uint16_t* out) {
  const int64_t count = end - begin;
  if (token.bf16 != nullptr) {
    std::memcpy(out, token.bf16 + begin, static_cast<size_t>(count) * sizeof(uint16_t));
  } else {
    kernels.to_bf16(token.f32 + begin, count, out);
  }
  std::fill(out + count, out + round_up(count, kGroup), uint16_t{0});
}

/// Of the tokens of a tile, a block of columns after the other.
void put_bf16_tile(const KernelTable& kernels, const ActivationTile& tile, int64_t n,
                   uint16_t* out) {
  constexpr int64_t kBlocks = 4;  // of a token that are read one after the other
  constexpr int64_t kTogether = 4;
  constexpr int64_t kColumns = kBf16TileColumns;
  for (int64_t run = 0; run < n; run += kBlocks * kColumns) {
    const int64_t end = std::min(run + kBlocks * kColumns, n);
    for (int64_t t = 0; t < round_up(tile.count, kTogether); ++t) {
      for (int64_t begin = run; begin < end; begin += kColumns) {
        const int64_t block_end = std::min(begin + kColumns, end);
        const int64_t width = round_up(block_end - begin, kGroup);
        uint16_t* const to = out + begin * kTileTokens + t * width;
        if (t < tile.count) {
          put_bf16(kernels, tile.tokens[t], begin, block_end, to);
        } else {
          std::fill_n(to, width, uint16_t{0});
        }
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
    token.f32 = x + static_cast<int64_t>(t) * stride;
    if (format == ActivationFormat::Bf16) token.bf16 = bf16_[t * room.bf16].bf16;
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
      kernels.to_bf16(x, n_, bf16_[t * room.bf16].bf16);
    } else if (format_ == ActivationFormat::Int8) {
      kernels.quantize_int8(x, n_, codes_.data() + t * room.codes, scales_.data() + t * room.scales,
                            sums_.data() + t * room.sums);
    }
  }
}

void ActivationTiles::reset(TileForm form, int64_t tiles, int64_t n) {
  form_ = form;
  n_ = n;
  groups_ = ceil_div(n, kGroup);
  counts_.assign(static_cast<size_t>(tiles), 0);
  make_room(tokens_, static_cast<size_t>(tiles * kTileTokens));
  make_room(lines_, static_cast<size_t>(tiles * lines_each()));
  if (form == TileForm::Int8) make_room(int8_, static_cast<size_t>(tiles * groups_));
}

int64_t ActivationTiles::lines_each() const noexcept {
  switch (form_) {
    case TileForm::F32:
      return ceil_div(n_, kPiece) * kTileTokens;
    case TileForm::Bf16:
      return ceil_div(n_, kGroup) * kTileTokens;
    case TileForm::Int8:
      break;
  }
  return 0;
}

void ActivationTiles::add(int64_t tile, const Activation& token) {
  int64_t& count = counts_[static_cast<size_t>(tile)];
  LETHE_DCHECK(count < kTileTokens);
  tokens_[static_cast<size_t>(tile * kTileTokens + count++)] = token;
}

void ActivationTiles::fill(const KernelTable& kernels, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const ActivationTile present = tile(i);
    if (form_ == TileForm::F32) {
      put_f32(present, n_, lines_[static_cast<size_t>(i * lines_each())].f32);
    } else if (form_ == TileForm::Bf16) {
      put_bf16_tile(kernels, present, n_, lines_[static_cast<size_t>(i * lines_each())].bf16);
    } else {
      Int8TileGroup* const groups = int8_.data() + i * groups_;
      for (int64_t g = 0; g < groups_; g += GroupBlock::kMost) {
        GroupBlock(present, n_, g, std::min(GroupBlock::kMost, groups_ - g))
            .put(kernels, groups + g);
      }
    }
  }
}

ActivationTile ActivationTiles::tile(int64_t i) const noexcept {
  const CacheLine* const lines = lines_.data() + i * lines_each();
  return {.count = counts_[static_cast<size_t>(i)],
          .tokens = tokens_.data() + i * kTileTokens,
          .f32 = form_ == TileForm::F32 ? lines->f32 : nullptr,
          .bf16 = form_ == TileForm::Bf16 ? lines->bf16 : nullptr,
          .int8 = form_ == TileForm::Int8 ? int8_.data() + i * groups_ : nullptr};
}

}  // namespace lethe::kernels
