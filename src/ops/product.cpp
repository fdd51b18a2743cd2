#include "ops/product.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace lethe::ops {

namespace {

// Rows and tokens are taken in blocks that the caches hold: the weights of a block while tokens
// pass by, the activations of a token block while rows do. An output is one dot product either way.
constexpr int64_t kTokenBlock = 16;
constexpr int64_t kRowBlock = 64;
constexpr int64_t kPanelBytes = 512 << 10;  // of the panels that are multiplied in turn
constexpr int64_t kMostPanels = 6;          // whole numbers of what kernels take at once
constexpr int64_t kLeastForTiles = 4;       // tokens that pay for decoding to a panel

/// A buffer of the calling thread, aligned to a cache line; keeps its contents until it grows.
class Scratch {
 public:
  std::byte* bytes(int64_t size) {
    constexpr size_t kLine = 64;
    if (static_cast<size_t>(size) + kLine > buffer_.size()) {
      buffer_.resize(static_cast<size_t>(size) + kLine);
    }
    const auto address = reinterpret_cast<uintptr_t>(buffer_.data());
    return buffer_.data() + (kLine - address % kLine) % kLine;
  }

 private:
  std::vector<std::byte> buffer_;
};

Scratch& scratch() {
  thread_local Scratch buffer;
  return buffer;
}

Scratch& decode_scratch() {
  thread_local Scratch buffer;
  return buffer;
}

bool reads_stored(const Device& device, const Linear& w) {
  if (device.numerics() != Numerics::Fast || w.role == LinearRole::F32) return false;
  return w.role != LinearRole::Compressor || device.kernels().multiplies_bf16(w.weight.encoding);
}

/// The kernel of a linear's products in tiles, where there are any.
const kernels::TileKernel& tile_kernel(const Device& device, const Linear& w) {
  if (!reads_stored(device, w)) return device.kernels().tile_of(quant::Encoding::F32, false);
  return device.kernels().tile_of(w.weight.encoding, w.weight.scales_f32);
}

/// Brings rows towards the cache, a part of them at each call. Packing reads 16 rows at once, more
/// than the machine's own prefetching follows, and waits for memory otherwise.
class Prefetch {
 public:
  /// `calls`: after so many all are asked for.
  Prefetch(NextRows next, int64_t calls) {
    if (next.w == nullptr || next.begin >= next.end) return;
    const quant::Weight& w = next.w->weight;
    at_ = w.row(next.begin);
    end_ = w.row(next.end - 1) + w.row_bytes;
    step_ = ((end_ - at_) / std::max<int64_t>(1, calls) / kLine + 1) * kLine;
  }
  void some() {
    const std::byte* stop = at_ + std::min<int64_t>(step_, end_ - at_);
    for (; at_ < stop; at_ += kLine) __builtin_prefetch(at_, 0, 2);
    at_ = stop;
  }

 private:
  static constexpr int64_t kLine = 64;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  int64_t step_ = 0;
};

/// `official`: each weight row decoded once, dot products in f64.
void official_rows(const Product& p, int64_t begin, int64_t end, float* out, int64_t out_stride) {
  const int64_t n = p.w.in_features();
  auto* row = reinterpret_cast<float*>(scratch().bytes(n * 4));
  for (int64_t r = begin; r < end; ++r) {
    quant::decode_row(p.w.weight, r, row);
    float* to = out + (r - begin);
    for (const kernels::Activation& token : p.tokens) {
      *to = static_cast<float>(p.device.kernels().dot_f64(row, token.f32, n));
      to += out_stride;
    }
  }
}

/// Rows as they are stored or decoded, each with blocks of tokens.
void dot_by_rows(const Product& p, kernels::RowDot row_dot,
                 std::span<const kernels::WeightRow> rows, float* out, int64_t out_stride) {
  const auto num_tokens = static_cast<int64_t>(p.tokens.size());
  float dots[kTokenBlock];
  for (int64_t first = 0; first < num_tokens; first += kTokenBlock) {
    const int64_t count = std::min(kTokenBlock, num_tokens - first);
    for (size_t r = 0; r < rows.size(); ++r) {
      row_dot(rows[r], p.w.in_features(), p.tokens.data() + first, count, dots);
      float* to = out + first * out_stride + static_cast<int64_t>(r);
      for (int64_t t = 0; t < count; ++t) to[t * out_stride] = dots[t];
    }
  }
}

/// Panels of 16 rows, multiplied with one tile after the other.
void dot_by_tiles(const Product& p, const kernels::TileKernel& kernel,
                  std::span<const kernels::WeightRow> rows, float* out, int64_t out_stride,
                  Prefetch& prefetch) {
  using kernels::kPanelRows;
  using kernels::kTileTokens;
  const int64_t n = p.w.in_features();
  const auto num_rows = static_cast<int64_t>(rows.size());
  const int64_t panel_bytes = kernel.panel_bytes(n);
  const int64_t together = kernel.rows_at_once / kPanelRows;
  const int64_t at_once =
      std::max<int64_t>(1, kPanelBytes / panel_bytes / together) * kernel.rows_at_once;
  const int64_t tiles = tiles_for(static_cast<int64_t>(p.tokens.size()));
  std::byte* panels =
      scratch().bytes(std::min(at_once, num_rows + kPanelRows - 1) / kPanelRows * panel_bytes);
  for (int64_t begin = 0; begin < num_rows; begin += at_once) {
    const int64_t end = std::min(begin + at_once, num_rows);
    for (int64_t r = begin; r < end; r += kPanelRows) {
      kernel.pack(rows.data() + r, std::min(kPanelRows, end - r), n,
                  panels + (r - begin) / kPanelRows * panel_bytes);
    }
    for (int64_t i = 0; i < tiles; ++i) {
      for (int64_t r = begin; r < end; r += kernel.rows_at_once) {
        kernel.dot(panels + (r - begin) / kPanelRows * panel_bytes,
                   std::min(kernel.rows_at_once, end - r), n, p.tiles->tile(p.first_tile + i),
                   out + i * kTileTokens * out_stride + r, out_stride);
        prefetch.some();
      }
    }
  }
}

/// Rows as they are stored, with one token after the other.
void dot_by_token(const Product& p, kernels::RowsDot rows_dot, int64_t begin, int64_t end,
                  float* out, int64_t out_stride) {
  kernels::WeightRow rows[kRowBlock];
  for (int64_t first = begin; first < end; first += kRowBlock) {
    const int64_t count = std::min(kRowBlock, end - first);
    for (int64_t r = 0; r < count; ++r) rows[r] = kernels::weight_row(p.w.weight, first + r);
    for (size_t t = 0; t < p.tokens.size(); ++t) {
      rows_dot(rows, count, p.w.in_features(), p.tokens[t],
               out + (first - begin) + static_cast<int64_t>(t) * out_stride);
    }
  }
}

/// The dot products of f32 rows, with each weight row decoded to one.
void decoded_rows(const Product& p, int64_t begin, int64_t end, float* out, int64_t out_stride) {
  const int64_t n = p.w.in_features();
  const bool stored = p.w.weight.encoding == quant::Encoding::F32;
  const kernels::RowsDot bf16_rows = p.w.weight.encoding == quant::Encoding::BF16
                                         ? p.device.kernels().bf16_rows_with_f32
                                         : nullptr;
  if (p.tiles == nullptr && bf16_rows != nullptr) {
    dot_by_token(p, bf16_rows, begin, end, out, out_stride);
    return;
  }
  constexpr auto kF32 = static_cast<size_t>(quant::Encoding::F32);
  constexpr int64_t kBlock = 32;
  kernels::WeightRow rows[kBlock];
  Prefetch prefetch({}, 0);
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = std::min(kBlock, end - first);
    std::byte* decoded = stored ? nullptr : decode_scratch().bytes(count * n * 4);
    for (int64_t r = 0; r < count; ++r) {
      if (stored) {
        rows[r] = kernels::weight_row(p.w.weight, first + r);
      } else {
        rows[r] = {.data = decoded + r * n * 4};
        quant::decode_row(p.w.weight, first + r, reinterpret_cast<float*>(decoded + r * n * 4));
      }
    }
    const std::span<const kernels::WeightRow> block(rows, static_cast<size_t>(count));
    if (p.tiles != nullptr) {
      dot_by_tiles(p, tile_kernel(p.device, p.w), block, out + (first - begin), out_stride,
                   prefetch);
    } else {
      dot_by_rows(p, p.device.kernels().row_dot[kF32], block, out + (first - begin), out_stride);
    }
  }
}

/// Dot products of the rows as they are stored with activations in the form their kernel reads.
void stored_rows(const Product& p, int64_t begin, int64_t end, float* out, int64_t out_stride,
                 NextRows next) {
  const auto encoding = static_cast<size_t>(p.w.weight.encoding);
  const kernels::KernelTable& kernels = p.device.kernels();
  if (p.tiles == nullptr && kernels.rows_dot[encoding] != nullptr) {
    dot_by_token(p, kernels.rows_dot[encoding], begin, end, out, out_stride);
    return;
  }
  const kernels::TileKernel& tile = tile_kernel(p.device, p.w);
  const int64_t at_once = tile.rows_at_once;
  Prefetch prefetch(next, (end - begin + at_once - 1) / at_once *
                              tiles_for(static_cast<int64_t>(p.tokens.size())));
  constexpr int64_t kBlock = kMostPanels * kernels::kPanelRows;
  kernels::WeightRow rows[kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = std::min(kBlock, end - first);
    for (int64_t r = 0; r < count; ++r) rows[r] = kernels::weight_row(p.w.weight, first + r);
    float* to = out + (first - begin);
    if (p.tiles != nullptr) {
      dot_by_tiles(p, tile, {rows, static_cast<size_t>(count)}, to, out_stride, prefetch);
    } else {
      dot_by_rows(p, kernels.row_dot[encoding], {rows, static_cast<size_t>(count)}, to, out_stride);
    }
  }
}

}  // namespace

kernels::ActivationFormat input_format(const Device& device, const Linear& w) {
  return reads_stored(device, w) ? kernels::activation_format(w.weight.encoding)
                                 : kernels::ActivationFormat::F32;
}

kernels::TileForm tile_form(const Device& device, const Linear& w) {
  return tile_kernel(device, w).form(input_format(device, w));
}

bool takes_tiles(const Device& device, const Linear& w, int64_t tokens) {
  if (tokens < kLeastForTiles || device.official()) return false;
  return tile_kernel(device, w).takes(reads_stored(device, w) ? w.weight.scale_block : 0);
}

void fill(const Device& device, kernels::ActivationBatch& batch, int64_t begin, int64_t end) {
  constexpr int64_t kNumbersPerPiece = 1 << 14;
  if (batch.format() == kernels::ActivationFormat::F32) return;
  const int64_t grain = std::max<int64_t>(1, kNumbersPerPiece / batch.columns());
  device.team().parallel_for(end - begin, grain, [&](int64_t first, int64_t last) {
    batch.fill(device.kernels(), begin + first, begin + last);
  });
}

void fill(const Device& device, kernels::ActivationTiles& tiles, int64_t columns) {
  constexpr int64_t kNumbersPerPiece = 1 << 16;
  const int64_t grain = std::max<int64_t>(1, kNumbersPerPiece / (columns * kernels::kTileTokens));
  device.team().parallel_for(tiles.size(), grain, [&](int64_t begin, int64_t end) {
    tiles.fill(device.kernels(), begin, end);
  });
}

namespace {

/// A linear whose weight is the copy that is near the calling thread.
Linear near_thread(const WeightReplicas& replicas, const Linear& w) {
  return {
      .weight = replicas.here(w.weight), .role = w.role, .activation_group = w.activation_group};
}

}  // namespace

void Product::rows(int64_t begin, int64_t end, float* out, int64_t out_stride,
                   NextRows next) const {
  const WeightReplicas* const replicas = device.replicas();
  if (replicas == nullptr) {
    rows_as_given(begin, end, out, out_stride, next);
    return;
  }
  const Linear near = near_thread(*replicas, w);
  const Linear near_next = next.w != nullptr ? near_thread(*replicas, *next.w) : Linear{};
  if (next.w != nullptr) next.w = &near_next;
  const Product product{device, near, tokens, tiles, first_tile};
  product.rows_as_given(begin, end, out, out_stride, next);
}

void Product::rows_as_given(int64_t begin, int64_t end, float* out, int64_t out_stride,
                            NextRows next) const {
  if (reads_stored(device, w)) {
    stored_rows(*this, begin, end, out, out_stride, next);
  } else if (device.official()) {
    official_rows(*this, begin, end, out, out_stride);
  } else {
    decoded_rows(*this, begin, end, out, out_stride);
  }
}

int64_t rows_per_piece(const Device& device, const Linear& w, int64_t rows, int64_t n,
                       int64_t tokens) {
  constexpr int64_t kWorkPerPiece = 1 << 19;  // multiply-adds; a new place in memory costs a wait
  constexpr int64_t kPiecesPerThread = 4;
  const int64_t share = rows / (kPiecesPerThread * int64_t{device.team().size()});
  if (tokens >= kLeastForTiles) {
    // Whole panels, and of them what the kernel takes at once where there are so many.
    const int64_t panels = std::clamp<int64_t>(share / kernels::kPanelRows, 1, kMostPanels);
    const int64_t together = tile_kernel(device, w).rows_at_once / kernels::kPanelRows;
    return (panels > together ? panels / together * together : panels) * kernels::kPanelRows;
  }
  const int64_t wanted = std::max<int64_t>(1, kWorkPerPiece / std::max<int64_t>(1, n * tokens));
  return std::clamp<int64_t>(std::min(wanted, share), 4, kRowBlock) / 4 * 4;
}

int64_t tokens_together(const Device& device, int64_t pieces, int64_t count) {
  constexpr int64_t kLeast = 4 * kernels::kTileTokens;  // that pay for decoding the rows again
  constexpr int64_t kPiecesPerThread = 4;
  const int64_t wanted = kPiecesPerThread * int64_t{device.team().size()};
  int64_t together = kTokensTogether;
  while (together > kLeast && (count + together - 1) / together * pieces < wanted) together /= 2;
  return together;
}

NextRows next_piece(const Device& device, const Linear& w, int64_t begin, int64_t end) {
  const int64_t ahead = (end - begin) * int64_t{device.team().size()};
  const int64_t rows = w.out_features();
  return {&w, std::min(begin + ahead, rows), std::min(end + ahead, rows)};
}

}  // namespace lethe::ops
