#include "ops/sparse_attention.h"

#include <algorithm>
#include <cmath>

#include "ops/fast_attention.h"
#include "ops/profile.h"
#include "tensor/rounding.h"

namespace lethe::ops {

namespace {

constexpr int64_t kBlock = 64;  // keys per running-max step, as in the reference

/// One key of a query's list: where it lies and how it is kept; null data = an empty column.
struct Key {
  const std::byte* data = nullptr;
  const RowCodec* codec = nullptr;
};

/// The key list of the query at position t. Empty columns keep the reference's block boundaries.
RecycledVector<Key> key_list(const SparseAttentionArgs& args, int64_t row, int64_t t) {
  RecycledVector<Key> keys;
  const bool draft = args.last_visible >= 0;
  const int64_t first =
      draft ? args.first_visible : std::max(args.window->begin(), t - args.window_size + 1);
  const int64_t last = draft ? args.last_visible : t;
  for (int64_t p = first; p <= last; ++p) {
    keys.push_back({args.window->row(p), &args.window_codec});
  }
  const CompressedKeys& more = args.compressed;
  if (more.rows == nullptr) return keys;
  keys.resize(static_cast<size_t>(args.window_size));
  const int64_t visible = (t + 1) / more.ratio;
  if (more.selected == nullptr) {
    for (int64_t j = 0; j < visible; ++j) keys.push_back({more.rows->row(j), &more.codec});
    return keys;
  }
  for (const int32_t j : more.selected->row(row)) {
    LETHE_DCHECK(j < visible);
    keys.push_back(j < 0 ? Key{} : Key{more.rows->row(j), &more.codec});
  }
  return keys;
}

/// Running softmax of some heads of one query over blocks of decoded keys.
/// Acc: the type of sums; bf16 probabilities go with double sums (`official`).
template <typename Acc>
class HeadGroup {
 public:
  HeadGroup(const Device& device, const Matrix& q, const SparseAttentionArgs& args, int64_t row,
            int64_t head_begin, int64_t head_end)
      : device_(device),
        q_(q),
        args_(args),
        row_(row),
        head_begin_(head_begin),
        dim_(q.cols() / args.heads),
        max_(static_cast<size_t>(head_end - head_begin), -1e30f),
        denominator_(max_.size(), Acc{0}),
        sums_(max_.size() * static_cast<size_t>(dim_)) {}

  /// kv: [count, dim] decoded keys of one block.
  void add_block(const float* kv, int64_t count) {
    kernels::Activation keys[kBlock];
    for (int64_t i = 0; i < count; ++i) keys[i].f32 = kv + i * dim_;
    float p[kBlock];
    for (size_t h = 0; h < max_.size(); ++h) {
      const std::span<const float> query =
          q_.part(row_, head_begin_ + static_cast<int64_t>(h), args_.heads);
      dots(query, keys, count, p);
      float largest = max_[h];
      for (int64_t i = 0; i < count; ++i) {
        p[i] *= args_.scale;
        largest = std::max(largest, p[i]);
      }
      rescale(h, largest);
      for (int64_t i = 0; i < count; ++i) p[i] = std::exp(p[i] - largest);
      accumulate(h, p, kv, count);
    }
  }

  void finish(Matrix& out) {
    for (size_t h = 0; h < max_.size(); ++h) {
      const int64_t head = head_begin_ + static_cast<int64_t>(h);
      const Acc denominator =
          denominator_[h] +
          static_cast<Acc>(std::exp(args_.sinks[static_cast<size_t>(head)] - max_[h]));
      const std::span<float> o = out.part(row_, head, args_.heads);
      for (size_t d = 0; d < o.size(); ++d) {
        o[d] = static_cast<float>(sums_[h * static_cast<size_t>(dim_) + d] / denominator);
      }
      device_.store_bf16(o);
    }
  }

 private:
  /// out[i] = query . key i.
  void dots(std::span<const float> query, const kernels::Activation* keys, int64_t count,
            float* out) const {
    if constexpr (std::is_same_v<Acc, double>) {
      for (int64_t i = 0; i < count; ++i) {
        out[i] = static_cast<float>(device_.kernels().dot_f64(query.data(), keys[i].f32, dim_));
      }
    } else {
      const kernels::WeightRow row{.data = std::as_bytes(query).data()};
      device_.kernels().row_dot[static_cast<size_t>(quant::Encoding::F32)](row, dim_, keys, count,
                                                                           out);
    }
  }

  void rescale(size_t h, float largest) {
    if (largest == max_[h]) return;
    const Acc factor = static_cast<Acc>(std::exp(max_[h] - largest));
    denominator_[h] *= factor;
    Acc* const sums = sums_.data() + h * static_cast<size_t>(dim_);
    for (int64_t d = 0; d < dim_; ++d) sums[d] *= factor;
    max_[h] = largest;
  }

  /// Adds the keys as values, with probabilities p: [count].
  void accumulate(size_t h, const float* p, const float* kv, int64_t count) {
    for (int64_t i = 0; i < count; ++i) denominator_[h] += static_cast<Acc>(p[i]);
    Acc* const sums = sums_.data() + h * static_cast<size_t>(dim_);
    if constexpr (std::is_same_v<Acc, double>) {
      for (int64_t i = 0; i < count; ++i) {
        const auto rounded = static_cast<double>(round_to_bf16(p[i]));
        device_.kernels().fma_row_f64(sums, kv + i * dim_, rounded, dim_);
      }
    } else {
      device_.kernels().fma_rows_f32(sums, kv, p, count, dim_);
    }
  }

  const Device& device_;
  const Matrix& q_;
  const SparseAttentionArgs& args_;
  int64_t row_;
  int64_t head_begin_;
  int64_t dim_;
  RecycledVector<float> max_;
  RecycledVector<Acc> denominator_;
  RecycledArray<Acc> sums_;
};

/// Bytes of the rows that the queries attend to, each query's by itself.
double key_bytes(const SparseAttentionArgs& args) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < args.row_count; ++i) {
    const int64_t t = args.position + i;
    bytes += std::min(t + 1, args.window_size) * args.window_codec.row_bytes();
    if (args.compressed.rows == nullptr) continue;
    int64_t entries = (t + 1) / args.compressed.ratio;
    if (args.compressed.selected != nullptr) {
      entries = std::min(entries, args.compressed.selected->cols());
    }
    bytes += entries * args.compressed.codec.row_bytes();
  }
  return static_cast<double>(bytes);
}

template <typename Acc>
void attend(const Device& device, const Matrix& q, const SparseAttentionArgs& args, int64_t row,
            int64_t head_begin, int64_t head_end, Matrix& out) {
  const int64_t t = args.position + row - args.row_begin;
  const int64_t dim = q.cols() / args.heads;
  const RecycledVector<Key> keys = key_list(args, row, t);
  RecycledArray<float> kv(static_cast<size_t>(kBlock * dim));
  HeadGroup<Acc> group(device, q, args, row, head_begin, head_end);
  for (size_t begin = 0; begin < keys.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, keys.size());
    int64_t count = 0;
    for (size_t i = begin; i < end; ++i) {
      if (keys[i].data == nullptr) continue;
      keys[i].codec->decode(keys[i].data, kv.data() + count++ * dim);
    }
    if (count > 0) group.add_block(kv.data(), count);
  }
  group.finish(out);
}

}  // namespace

void sparse_attention(const Device& device, const Matrix& q, const SparseAttentionArgs& args,
                      Matrix& out) {
  LETHE_CHECK(args.window != nullptr && args.heads > 0 && q.cols() % args.heads == 0);
  LETHE_CHECK(static_cast<int64_t>(args.sinks.size()) == args.heads);
  ProfileScope profile(device, Part::SparseAttention);
  if (device.profile() != nullptr) profile.read_bytes(key_bytes(args));
  if (device.numerics() == Numerics::Fast) {
    fast_attention(device, q, args, out);
    return;
  }
  // Few queries: share out the heads of each; heads do not touch each other.
  const int64_t team = device.team().size();
  const int64_t pieces = args.row_count >= team
                             ? 1
                             : std::min(args.heads, (team + args.row_count - 1) / args.row_count);
  device.team().parallel_for(args.row_count * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = args.row_begin + item / pieces;
      const int64_t piece = item % pieces;
      const int64_t head_begin = args.heads * piece / pieces;
      const int64_t head_end = args.heads * (piece + 1) / pieces;
      if (device.official()) {
        attend<double>(device, q, args, row, head_begin, head_end, out);
      } else {
        attend<float>(device, q, args, row, head_begin, head_end, out);
      }
    }
  });
}

}  // namespace lethe::ops
