// Speed of the row dots: GB/s of weight bytes per encoding and kernel set, with rows in the first
// cache and with a matrix larger than the last, for one token and for a batch.
//
//   kernels_bench [ENCODING...]      (default: all)
//
// First every set's results are compared with the scalar set's. Medians of processor time
// over rounds that take the sets in turn, so that other load on the machine meets all of them.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kernels/activation_batch.h"
#include "kernels/kernel_sets.h"
#include "quant/weight.h"
#include "tensor/dtype.h"

namespace {

using lethe::kernels::ActivationBatch;
using lethe::kernels::ActivationFormat;
using lethe::kernels::ActivationTiles;
using lethe::kernels::KernelTable;
using lethe::kernels::kPanelRows;
using lethe::kernels::kTileTokens;
using lethe::kernels::TileForm;
using lethe::kernels::TileKernel;
using lethe::kernels::WeightRow;
using lethe::quant::Encoding;

constexpr int64_t kColumns = 4096;
constexpr int64_t kBatch = 64;
constexpr int64_t kCacheBytes = 256 << 10;
constexpr int64_t kMemoryBytes = 96 << 20;
constexpr int kRounds = 7;

/// Rows of one encoding with moderate random numbers.
struct Rows {
  Encoding encoding = Encoding::F32;
  int64_t row_bytes = 0;    // without scales of their own
  int64_t scale_bytes = 0;  // of a row
  int64_t count = 0;
  std::vector<std::byte> data;
  std::vector<std::byte> scales;

  WeightRow row(int64_t r) const {
    return {data.data() + r * row_bytes, scales.empty() ? nullptr : scales.data() + r * scale_bytes,
            encoding == Encoding::Fp8Block ? 128 : 32, false};
  }
  int64_t bytes() const { return count * (row_bytes + scale_bytes); }
};

const lethe::DTypeInfo* storage_of(Encoding encoding) {
  for (const lethe::DTypeInfo& info : lethe::all_dtypes()) {
    if (info.name == lethe::quant::encoding_name(encoding)) return &info;
  }
  return nullptr;
}

/// Subnormal numbers are slow to multiply, and no weights: f32 and bf16 get magnitudes around 2^-7.
/// Other encodings get bytes whose 16-bit words are small positive halves and no NaN.
std::vector<std::byte> random_data(Encoding encoding, int64_t size) {
  std::mt19937 random(7);
  std::vector<std::byte> data(static_cast<size_t>(size));
  for (std::byte& b : data) b = static_cast<std::byte>(random() % 60);
  const size_t element = encoding == Encoding::F32 ? 4 : encoding == Encoding::BF16 ? 2 : 0;
  for (size_t last = element - 1; element != 0 && last < data.size(); last += element) {
    data[last] = static_cast<std::byte>(random() % 2 == 0 ? 0x3c : 0xbb);
  }
  // Exponents of some use, too: none that means 2^-127.
  for (size_t block = 0; encoding == Encoding::MXFP4 && block < data.size(); block += 17) {
    data[block] = static_cast<std::byte>(115 + random() % 8);
  }
  return data;
}

Rows make_rows(Encoding encoding, int64_t total_bytes) {
  Rows rows;
  rows.encoding = encoding;
  if (encoding == Encoding::Fp4Row) {
    rows.row_bytes = kColumns / 2;
    rows.scale_bytes = kColumns / 32;
  } else if (encoding == Encoding::Fp8Block || encoding == Encoding::Fp8Row) {
    rows.row_bytes = kColumns;
    rows.scale_bytes = kColumns / (encoding == Encoding::Fp8Block ? 128 : 32);
  } else {
    const lethe::DTypeInfo& info = *storage_of(encoding);
    rows.row_bytes = kColumns / info.block_elements * info.block_bytes;
  }
  rows.count = std::max<int64_t>(1, total_bytes / (rows.row_bytes + rows.scale_bytes));
  rows.data = random_data(encoding, rows.count * rows.row_bytes);
  rows.scales.assign(static_cast<size_t>(rows.count * rows.scale_bytes), std::byte{120});
  return rows;
}

/// One matrix of tokens, prepared in all ways.
struct Tokens {
  ActivationBatch batch;
  std::array<ActivationTiles, 3> tiles;  // by TileForm: those that sets read

  Tokens(Encoding encoding, const std::vector<float>& x, int64_t count)
      : batch(lethe::kernels::activation_format(encoding), x.data(), count, kColumns, kColumns) {
    for (const TileForm form : {TileForm::F32, TileForm::Bf16, TileForm::Int8}) {
      if ((form == TileForm::Int8) != (batch.format() == ActivationFormat::Int8)) continue;
      ActivationTiles& to = tiles[static_cast<size_t>(form)];
      to.reset(form, (count + kTileTokens - 1) / kTileTokens, kColumns);
      for (int64_t t = 0; t < count; ++t) to.add(t / kTileTokens, batch[t]);
      to.fill(lethe::kernels::kernel_table(), 0, to.size());
    }
  }
  const ActivationTiles& tiles_for(const TileKernel& kernel) const {
    return tiles[static_cast<size_t>(kernel.form(batch.format()))];
  }
};

/// Blocks of rows, as operations take them: packed once for all tiles.
void dot_tiles(const TileKernel& kernel, const std::vector<WeightRow>& rows, const Tokens& tokens,
               float* out) {
  constexpr int64_t kPanelBytes = 512 << 10;
  static std::vector<std::byte> buffer;
  const ActivationTiles& tiles = tokens.tiles_for(kernel);
  const int64_t panel_bytes = kernel.panel_bytes(kColumns);
  const int64_t together = kernel.rows_at_once / kPanelRows;
  const int64_t panels_at_once =
      std::max<int64_t>(1, kPanelBytes / panel_bytes / together) * together;
  buffer.resize(static_cast<size_t>(panels_at_once * panel_bytes) + 64);
  std::byte* panels = buffer.data() + (64 - reinterpret_cast<uintptr_t>(buffer.data()) % 64);
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t begin = 0; begin < count; begin += panels_at_once * kPanelRows) {
    const int64_t end = std::min(begin + panels_at_once * kPanelRows, count);
    for (int64_t r = begin, p = 0; r < end; r += kPanelRows, ++p) {
      kernel.pack(rows.data() + r, std::min(kPanelRows, end - r), kColumns,
                  panels + p * panel_bytes);
    }
    for (int64_t i = 0; i < tiles.size(); ++i) {
      for (int64_t r = begin; r < end; r += kernel.rows_at_once) {
        kernel.dot(panels + (r - begin) / kPanelRows * panel_bytes,
                   std::min(kernel.rows_at_once, end - r), kColumns, tiles.tile(i),
                   out + i * kTileTokens * count + r, count);
      }
    }
  }
}

/// out: [tokens, rows].
void dot_all(const KernelTable& set, const Rows& all, const Tokens& tokens, float* out) {
  const auto encoding = static_cast<size_t>(all.encoding);
  static std::vector<WeightRow> rows;
  rows.resize(static_cast<size_t>(all.count));
  for (int64_t r = 0; r < all.count; ++r) rows[static_cast<size_t>(r)] = all.row(r);
  const int64_t count = tokens.batch.size();
  if (count == 1 && set.rows_dot[encoding] != nullptr) {
    set.rows_dot[encoding](rows.data(), all.count, kColumns, tokens.batch[0], out);
  } else if (count > 1 && set.tile_of(all.encoding, false).takes(all.row(0).scale_block)) {
    dot_tiles(set.tile_of(all.encoding, false), rows, tokens, out);
  } else {
    float dots[kBatch];
    for (int64_t r = 0; r < all.count; ++r) {
      for (int64_t first = 0; first < count; first += 16) {
        set.row_dot[encoding](rows[static_cast<size_t>(r)], kColumns, tokens.batch.data() + first,
                              std::min<int64_t>(16, count - first), dots + first);
      }
      for (int64_t t = 0; t < count; ++t) out[t * all.count + r] = dots[t];
    }
  }
}

std::vector<const KernelTable*> sets_here() {
  std::vector<const KernelTable*> sets;
  for (const auto& set : lethe::kernels::kernel_sets()) {
    if (set.table != nullptr) sets.push_back(set.table);
  }
  return sets;
}

/// Median processor seconds of one pass over the rows, per set.
std::vector<double> pass_seconds(const Rows& rows, const Tokens& tokens) {
  const auto sets = sets_here();
  std::vector<float> out(static_cast<size_t>(rows.count * tokens.batch.size()));
  const int64_t work = rows.bytes() * tokens.batch.size();
  const int64_t passes = std::max<int64_t>(1, (64 << 20) / work);
  std::vector<std::vector<double>> times(sets.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t s = 0; s < sets.size(); ++s) {
      dot_all(*sets[s], rows, tokens, out.data());  // brings in what stays in the caches
      const std::clock_t begin = std::clock();
      for (int64_t pass = 0; pass < passes; ++pass) dot_all(*sets[s], rows, tokens, out.data());
      times[s].push_back(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC /
                         static_cast<double>(passes));
    }
  }
  std::vector<double> medians;
  for (auto& t : times) {
    std::nth_element(t.begin(), t.begin() + kRounds / 2, t.end());
    medians.push_back(t[kRounds / 2]);
  }
  return medians;
}

/// True if all sets agree with the scalar one bit for bit, or nearly where their sums have an order
/// of their own.
bool sets_agree(const Rows& rows, const Tokens& tokens) {
  const auto size = static_cast<size_t>(rows.count * tokens.batch.size());
  std::vector<float> expected(size);
  std::vector<float> out(size);
  dot_all(lethe::kernels::scalar_kernels(), rows, tokens, expected.data());
  for (const KernelTable* set : sets_here()) {
    dot_all(*set, rows, tokens, out.data());
    if (set->own_bits[static_cast<size_t>(rows.encoding)]) {
      const auto near = [](float a, float b) {
        return std::abs(a - b) <= 1e-3F + 1e-3F * std::abs(b);
      };
      if (!std::equal(out.begin(), out.end(), expected.begin(), near)) return false;
    } else if (std::memcmp(out.data(), expected.data(), size * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

/// One line: encoding, then for each case the GB/s (or G multiply-adds/s) of each set.
bool report(Encoding encoding) {
  const Rows in_cache = make_rows(encoding, kCacheBytes);
  const Rows in_memory = make_rows(encoding, kMemoryBytes);
  std::mt19937 random(8);
  std::normal_distribution<float> gaussian;
  std::vector<float> x(static_cast<size_t>(kBatch * kColumns));
  for (float& v : x) v = gaussian(random);
  const Tokens one(encoding, x, 1);
  const Tokens batch(encoding, x, kBatch);
  const Rows many = make_rows(encoding, 64 * (in_cache.bytes() / in_cache.count));
  if (!sets_agree(in_cache, one) || !sets_agree(many, batch)) {
    fmt::print("{}: the sets disagree\n", lethe::quant::encoding_name(encoding));
    return false;
  }
  fmt::print("{:18}", lethe::quant::encoding_name(encoding));
  const auto print = [](const std::vector<double>& seconds, double work) {
    for (const double s : seconds) fmt::print(" {:7.2f}", work / s / 1e9);
    fmt::print("  |");
  };
  print(pass_seconds(in_cache, one), static_cast<double>(in_cache.bytes()));
  print(pass_seconds(in_memory, one), static_cast<double>(in_memory.bytes()));
  print(pass_seconds(many, batch), static_cast<double>(many.count * kColumns * kBatch));
  fmt::print("\n");
  std::fflush(stdout);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::set<std::string> wanted(argv + 1, argv + argc);
  std::string names;
  for (const KernelTable* set : sets_here()) names += fmt::format(" {:>7}", set->name);
  fmt::print("rows of {}: GB/s one token, in cache | GB/s one token, {} MB | GMAC/s {} tokens\n",
             kColumns, kMemoryBytes >> 20, kBatch);
  fmt::print("{:18}{}  |{}  |{}  |\n", "", names, names, names);
  bool agree = true;
  for (int i = 0; i < lethe::quant::kNumEncodings; ++i) {
    const auto encoding = static_cast<Encoding>(i);
    const std::string name(lethe::quant::encoding_name(encoding));
    if (wanted.empty() || wanted.contains(name)) agree = report(encoding) && agree;
  }
  return agree ? 0 : 1;
}
