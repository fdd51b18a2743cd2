#include "ops/fast_attention.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "kernels/attention.h"

namespace lethe::ops {

namespace {

using kernels::AttentionKey;
using kernels::AttentionSums;
using kernels::kAttentionLanes;
using kernels::kAttentionSegment;
using kernels::KeyLayout;
using kernels::padded_lanes;

KeyLayout key_layout(const RowCodec& codec) {
  switch (codec.kind()) {
    case RowCodec::Kind::Fp8RopeBf16:
      return {.fp8_group = 64, .bf16_tail = static_cast<int32_t>(codec.rope_dim())};
    case RowCodec::Kind::Fp8:
      return {.fp8_group = 32};
    case RowCodec::Kind::Fp4E4m3:
      return {.fp4 = true};
    case RowCodec::Kind::F32:
    case RowCodec::Kind::Fp4:
      break;
  }
  LETHE_CHECK(false, "rows of kind {} are no keys of fast attention",
              static_cast<int>(codec.kind()));
  return {};
}

/// The keys of the query in one row of the batch.
class KeyList {
 public:
  KeyList(const SparseAttentionArgs& args, int64_t row, const KeyLayout& window,
          const KeyLayout& compressed)
      : args_(args), window_(window), compressed_(compressed) {
    const int64_t t = args.position + row - args.row_begin;
    const bool draft = args.last_visible >= 0;
    first_ = draft ? args.first_visible : std::max(args.window->begin(), t - args.window_size + 1);
    in_window_ = (draft ? args.last_visible : t) - first_ + 1;
    const CompressedKeys& more = args.compressed;
    if (more.rows == nullptr) return;
    entries_ = (t + 1) / more.ratio;
    if (more.selected == nullptr) return;
    selected_ = more.selected->row(row);
    entries_ = std::count_if(selected_.begin(), selected_.end(), [](int32_t j) { return j >= 0; });
  }

  int64_t size() const noexcept { return in_window_ + entries_; }
  int64_t segments() const noexcept { return (size() + kAttentionSegment - 1) / kAttentionSegment; }

  /// The keys of a segment.
  void collect(int64_t segment, std::vector<AttentionKey>& keys) const {
    keys.clear();
    const int64_t begin = segment * kAttentionSegment;
    const int64_t end = std::min(begin + kAttentionSegment, size());
    for (int64_t i = begin; i < std::min(end, in_window_); ++i) {
      keys.push_back({args_.window->row(first_ + i), &window_});
    }
    const int64_t from = std::max<int64_t>(0, begin - in_window_);
    const int64_t to = end - in_window_;
    if (selected_.empty()) {
      for (int64_t j = from; j < to; ++j) {
        keys.push_back({args_.compressed.rows->row(j), &compressed_});
      }
      return;
    }
    int64_t number = 0;
    for (const int32_t j : selected_) {
      if (j < 0) continue;
      if (number >= from && number < to) {
        keys.push_back({args_.compressed.rows->row(j), &compressed_});
      }
      ++number;
    }
  }

 private:
  const SparseAttentionArgs& args_;
  const KeyLayout& window_;
  const KeyLayout& compressed_;
  int64_t first_ = 0;
  int64_t in_window_ = 0;
  int64_t entries_ = 0;
  std::span<const int32_t> selected_;
};

/// Room that is kept from call to call.
class Buffer {
 public:
  std::byte* bytes(int64_t count) {
    if (count > size_) {
      bytes_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(count) + kAlign);
      size_ = count;
    }
    const auto at = reinterpret_cast<uintptr_t>(bytes_.get());
    return bytes_.get() + (kAlign - at % kAlign) % kAlign;
  }

 private:
  static constexpr size_t kAlign = 64;
  std::unique_ptr<std::byte[]> bytes_;
  int64_t size_ = 0;
};

/// Sums of `heads` heads of one segment or of several joined.
struct Sums {
  int64_t heads;  // padded
  int64_t dim;    // padded
  AttentionSums at;

  static int64_t bytes(int64_t heads, int64_t dim) {
    return int64_t{sizeof(float)} * padded_lanes(heads) * (padded_lanes(dim) + 2);
  }
  Sums(int64_t num_heads, int64_t num_dims, std::byte* room)
      : heads(padded_lanes(num_heads)), dim(padded_lanes(num_dims)) {
    at.sums = reinterpret_cast<float*>(room);
    at.max = at.sums + heads * dim;
    at.denominator = at.max + heads;
  }

  void join(const Sums& other) {
    for (int64_t h = 0; h < heads; ++h) {
      const float max = std::max(at.max[h], other.at.max[h]);
      const float mine = std::exp(at.max[h] - max);
      const float theirs = std::exp(other.at.max[h] - max);
      at.max[h] = max;
      at.denominator[h] = at.denominator[h] * mine + other.at.denominator[h] * theirs;
      float* const to = at.sums + h * dim;
      const float* const from = other.at.sums + h * dim;
      for (int64_t d = 0; d < dim; ++d) to[d] = to[d] * mine + from[d] * theirs;
    }
  }

  /// out: [dims] of head h; the sink is one more key without a value.
  void finish(int64_t h, float sink, std::span<float> out) const {
    const float denominator = at.denominator[h] + std::exp(sink - at.max[h]);
    const float factor = 1.0f / denominator;
    const float* const from = at.sums + h * dim;
    for (size_t d = 0; d < out.size(); ++d) out[d] = from[d] * factor;
  }
};

class FastAttention {
 public:
  FastAttention(const Device& device, const Matrix& q, const SparseAttentionArgs& args, Matrix& out)
      : device_(device),
        q_(q),
        args_(args),
        out_(out),
        dim_(q.cols() / args.heads),
        window_(key_layout(args.window_codec)) {
    if (args.compressed.rows != nullptr) compressed_ = key_layout(args.compressed.codec);
  }

  /// One thread: all heads and segments of a row.
  void whole_row(int64_t row) const {
    const KeyList keys(args_, row, window_, compressed_);
    thread_local Buffer buffer;
    const int64_t bytes = Sums::bytes(args_.heads, dim_);
    std::byte* const room = buffer.bytes(2 * bytes);
    Sums all(args_.heads, dim_, room);
    const Sums next(args_.heads, dim_, room + bytes);
    attend(keys, row, 0, 0, args_.heads, all);
    for (int64_t s = 1; s < keys.segments(); ++s) {
      attend(keys, row, s, 0, args_.heads, next);
      all.join(next);
    }
    finish(row, 0, args_.heads, all);
  }

  /// The team: segments and groups of heads of a row are shared out.
  void shared_row(int64_t row) const {
    const KeyList keys(args_, row, window_, compressed_);
    const int64_t segments = keys.segments();
    const int64_t per_group = heads_per_group(keys.size());
    const int64_t groups = (args_.heads + per_group - 1) / per_group;
    const int64_t bytes = Sums::bytes(per_group, dim_);
    thread_local Buffer buffer;
    std::byte* const room = buffer.bytes(groups * segments * bytes);
    const auto sums_of = [&](int64_t group, int64_t segment) {
      return Sums(heads_end(group, per_group) - group * per_group, dim_,
                  room + (group * segments + segment) * bytes);
    };
    device_.team().parallel_for(groups * segments, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t group = item % groups;
        attend(keys, row, item / groups, group * per_group, heads_end(group, per_group),
               sums_of(group, item / groups));
      }
    });
    device_.team().parallel_for(groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        Sums all = sums_of(group, 0);
        for (int64_t s = 1; s < segments; ++s) all.join(sums_of(group, s));
        finish(row, group * per_group, heads_end(group, per_group), all);
      }
    });
  }

 private:
  int64_t heads_end(int64_t group, int64_t per_group) const {
    return std::min((group + 1) * per_group, args_.heads);
  }

  /// Rows are decoded once per group: as few groups as give every thread something to do.
  int64_t heads_per_group(int64_t keys) const {
    const int64_t team = device_.team().size();
    const int64_t most = std::min(team, padded_lanes(args_.heads) / kAttentionLanes);
    const int64_t groups =
        std::clamp<int64_t>((team * kAttentionSegment + keys - 1) / keys, 1, most);
    return padded_lanes((args_.heads + groups - 1) / groups);
  }

  void attend(const KeyList& list, int64_t row, int64_t segment, int64_t head_begin,
              int64_t head_end, const Sums& sums) const {
    thread_local std::vector<AttentionKey> keys;
    thread_local Buffer scratch;
    keys.reserve(static_cast<size_t>(kAttentionSegment));
    list.collect(segment, keys);
    const int64_t heads = head_end - head_begin;
    const kernels::AttentionQuery query{.q = q_.row(row).data() + head_begin * dim_,
                                        .heads = heads,
                                        .dim = dim_,
                                        .scale = args_.scale};
    device_.kernels().attend(query, keys.data(), static_cast<int64_t>(keys.size()), sums.at,
                             scratch.bytes(kernels::attention_scratch_bytes(heads, dim_)));
  }

  void finish(int64_t row, int64_t head_begin, int64_t head_end, const Sums& sums) const {
    for (int64_t h = head_begin; h < head_end; ++h) {
      sums.finish(h - head_begin, args_.sinks[static_cast<size_t>(h)],
                  out_.part(row, h, args_.heads));
    }
  }

  const Device& device_;
  const Matrix& q_;
  const SparseAttentionArgs& args_;
  Matrix& out_;
  int64_t dim_;
  KeyLayout window_;
  KeyLayout compressed_;
};

}  // namespace

void fast_attention(const Device& device, const Matrix& q, const SparseAttentionArgs& args,
                    Matrix& out) {
  const FastAttention attention(device, q, args, out);
  if (args.row_count >= device.team().size()) {
    device.for_rows(args.row_count, [&](int64_t i) { attention.whole_row(args.row_begin + i); });
  } else {
    for (int64_t i = 0; i < args.row_count; ++i) attention.shared_row(args.row_begin + i);
  }
}

}  // namespace lethe::ops
