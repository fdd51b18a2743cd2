#include "model/weight_placement.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/error.h"
#include "base/huge_memory.h"
#include "base/memory_advice.h"
#include "base/progress.h"
#include "base/system_memory.h"
#include "tensor/inventory.h"

namespace lethe::model {

namespace {

constexpr size_t kFileBlock = 4096;

using Bytes = std::span<const std::byte>;

/// The bytes of the weights and their scales, as they are found.
std::vector<Bytes> weight_bytes(const Checkpoint& checkpoint, bool with_experts) {
  std::vector<Bytes> all;
  for (const TensorSpec& spec : expected_tensors(checkpoint.config())) {
    if (is_looked_up(spec) || (spec.expert >= 0 && !with_experts)) continue;
    const std::optional<StoredWeight> weight = checkpoint.find(spec.name);
    if (!weight) continue;
    all.push_back(weight->tensor.data);
    if (weight->scale) all.push_back(weight->scale->data);
  }
  std::erase_if(all, [](Bytes bytes) { return bytes.empty(); });
  return all;
}

/// The file that has the byte mapped; null if none has.
const MappedFile* file_of(const Checkpoint& checkpoint, const std::byte* byte) {
  for (const MappedFile& file : checkpoint.files()) {
    const Bytes bytes = file.bytes();
    if (byte >= bytes.data() && byte < bytes.data() + bytes.size()) return &file;
  }
  return nullptr;
}

/// A part of a range, and where it goes in each copy.
struct Piece {
  const WeightRange* range;
  size_t begin;
  std::span<std::byte> into;
};

/// Copies of the ranges, one after the other, each at the same distance from a block's beginning as
/// in its file. One set of them, or one for each of several nodes.
class WeightCopy {
 public:
  WeightCopy(std::vector<WeightRange> ranges, std::vector<int> nodes)
      : ranges_(std::move(ranges)), nodes_(std::move(nodes)) {
    for (const WeightRange& range : ranges_) {
      const size_t begin =
          (end_ + kFileBlock - 1) / kFileBlock * kFileBlock + range.offset % kFileBlock;
      begins_.push_back(begin);
      end_ = begin + range.mapped.size();
    }
    if (copies() > 1) {  // each on huge pages of its own
      end_ = (end_ + HugeMemory::kPageBytes - 1) / HugeMemory::kPageBytes * HugeMemory::kPageBytes;
    }
  }

  size_t copies() const { return std::max<size_t>(1, nodes_.size()); }
  int64_t size_bytes() const { return static_cast<int64_t>(end_); }  // of one

  /// `drop`: give back the pages that the system read, piece by piece.
  void read(ThreadTeam& team, bool drop) {
    memory_ = std::make_shared<HugeMemory>(copies() * end_);
    spread();
    const std::vector<Piece> pieces = cut();
    Progress progress("copying weights", size_bytes(), "bytes");
    constexpr size_t kAtOnce = 64;
    for (size_t first = 0; first < pieces.size(); first += kAtOnce) {
      const auto batch = std::span(pieces).subspan(first, std::min(kAtOnce, pieces.size() - first));
      team.parallel_for(static_cast<int64_t>(batch.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) fill_piece(batch[static_cast<size_t>(i)], drop);
      });
      for (const Piece& piece : batch) progress.advance(static_cast<int64_t>(piece.into.size()));
    }
  }

  void hand_over(Checkpoint& checkpoint) const {
    std::vector<Checkpoint::Moved> moved;
    for (size_t i = 0; i < ranges_.size(); ++i) {
      moved.push_back({ranges_[i].mapped, memory_->bytes().data() + begins_[i]});
    }
    checkpoint.move_tensors(moved, memory_);
  }

  /// Null: there is one copy.
  std::shared_ptr<const ops::WeightReplicas> replicas(
      ops::WeightReplicas::NodeOfThread node_of_thread) const {
    if (copies() == 1) return nullptr;
    return std::make_shared<ops::WeightReplicas>(memory_->bytes(), nodes_, memory_, node_of_thread);
  }

 private:
  std::vector<Piece> cut() const {
    constexpr size_t kPieceBytes = 2 * HugeMemory::kPageBytes;
    std::vector<Piece> pieces;
    for (size_t i = 0; i < ranges_.size(); ++i) {
      const size_t size = ranges_[i].mapped.size();
      for (size_t at = 0; at < size; at += kPieceBytes) {
        const auto into =
            memory_->bytes().subspan(begins_[i] + at, std::min(kPieceBytes, size - at));
        pieces.push_back({&ranges_[i], at, into});
      }
    }
    return pieces;
  }

  /// Wishes: a refusal changes nothing but speed.
  void spread() const {
    if (copies() == 1) static_cast<void>(memory_->interleave());
    for (size_t i = 0; copies() > 1 && i < copies(); ++i) {
      static_cast<void>(memory_->prefer_node(i * end_, end_, nodes_[i]));
    }
  }

  void fill_piece(const Piece& piece, bool drop) const {
    const uint64_t offset = piece.range->offset + piece.begin;
    piece.range->file->read(offset, piece.into);
    for (size_t i = 1; i < copies(); ++i) {
      std::memcpy(piece.into.data() + i * end_, piece.into.data(), piece.into.size());
    }
    if (drop) piece.range->file->drop_cached(offset, piece.into.size());
  }

  std::vector<WeightRange> ranges_;
  std::vector<int> nodes_;      // each has a copy; none or one: there is one copy, for all
  std::vector<size_t> begins_;  // of the ranges in the first copy
  size_t end_ = 0;              // of the first copy, where the next begins
  std::shared_ptr<HugeMemory> memory_;
};

/// The nodes that are to have a copy of their own; none: one copy is for all.
std::vector<int> nodes_with_copies(const WeightOptions& options) {
  if (options.placement != WeightPlacement::replicate) return {};
  std::vector<int> nodes = options.nodes.empty() ? memory_nodes() : options.nodes;
  if (nodes.size() > 1) return nodes;
  fmt::print(stderr, "--weights replicate: there is one NUMA node, so this is --weights copy.\n");
  return {};
}

PlacedWeights copy_weights(Checkpoint& checkpoint, ThreadTeam& team, const WeightOptions& options) {
  WeightCopy copy(weight_ranges(checkpoint, /*with_experts=*/true), nodes_with_copies(options));
  const int64_t memory = available_memory_bytes();
  const int64_t margin = plan_memory({}, memory, 0).margin_bytes;
  const int64_t state_bytes = options.expert_cache.state_bytes;
  const int64_t copies = static_cast<int64_t>(copy.copies()) * copy.size_bytes();
  const int64_t needed = copies + state_bytes + margin;
  if (needed > memory) {
    const std::string what =
        copy.copies() == 1
            ? fmt::format("a copy of the weights: they take {:.2f} GB", gigabytes(copies))
            : fmt::format(
                  "a copy of the weights for each of {} NUMA nodes: they take {} times {:.2f} GB",
                  copy.copies(), copy.copies(), gigabytes(copy.size_bytes()));
    throw LoadError(
        "{}: memory is not enough for {}, conversations {:.2f} GB, the program {:.2f} GB: {:.2f} "
        "GB. There are {:.2f} GB. {} (--weights map), or free memory.",
        checkpoint.path(), what, gigabytes(state_bytes), gigabytes(margin), gigabytes(needed),
        gigabytes(memory),
        copy.copies() == 1 ? "Use them where they are mapped"
                           : "Have one copy (--weights copy), use them where they are mapped");
  }
  // Where memory cannot hold the files too, their pages would have to be thrown out one by one.
  copy.read(team, /*drop=*/needed + copy.size_bytes() > memory);
  copy.hand_over(checkpoint);
  return {.expert_cache_bytes = 0, .replicas = copy.replicas(options.node_of_thread)};
}

/// Not for runs so short that reading whole huge pages would read mostly other things.
void advise_huge(const std::vector<WeightRange>& ranges) {
  for (const WeightRange& range : ranges) {
    if (range.mapped.size() >= 2 * HugeMemory::kPageBytes) advise_huge_pages(range.mapped);
  }
}

}  // namespace

WeightPlacement parse_weight_placement(std::string_view text) {
  if (text == "map") return WeightPlacement::map;
  if (text == "copy") return WeightPlacement::copy;
  if (text == "replicate") return WeightPlacement::replicate;
  throw UsageError("--weights {}: expected map, copy or replicate.", text);
}

std::vector<WeightRange> weight_ranges(const Checkpoint& checkpoint, bool with_experts) {
  std::vector<Bytes> all = weight_bytes(checkpoint, with_experts);
  std::sort(all.begin(), all.end(), [](Bytes a, Bytes b) { return a.data() < b.data(); });
  std::vector<WeightRange> ranges;
  for (const Bytes bytes : all) {
    const std::byte* const end = bytes.data() + bytes.size();
    if (!ranges.empty()) {
      WeightRange& last = ranges.back();
      const std::byte* const begin = last.mapped.data();
      const std::byte* const last_end = begin + last.mapped.size();
      const Bytes file = last.file->bytes();
      if (bytes.data() < file.data() + file.size() && bytes.data() <= last_end + kFileBlock) {
        last.mapped = {begin, std::max(last_end, end)};
        continue;
      }
    }
    const MappedFile* file = file_of(checkpoint, bytes.data());
    LETHE_CHECK(file != nullptr, "weights outside of the mapped files");
    ranges.push_back({file, static_cast<uint64_t>(bytes.data() - file->bytes().data()), bytes});
  }
  return ranges;
}

PlacedWeights place_weights(Checkpoint& checkpoint, ThreadTeam& team,
                            const WeightOptions& options) {
  const ExpertCacheChoice& cache = options.expert_cache;
  if (options.placement != WeightPlacement::map) {
    if (cache.mode == ExpertCacheChoice::Mode::fixed) {
      throw UsageError(
          "--weights {} has all experts in memory: leave out --expert-cache, or use --weights map.",
          options.placement == WeightPlacement::copy ? "copy" : "replicate");
    }
    return copy_weights(checkpoint, team, options);
  }
  const int64_t cache_bytes = choose_expert_cache(checkpoint, cache);
  // Experts that come and go in a page cache too small for them are better off in small pages.
  const MemoryNeeds needs = memory_needs(checkpoint);
  const bool fits = plan_memory(needs, available_memory_bytes(), cache.state_bytes).fits;
  advise_huge(weight_ranges(checkpoint, /*with_experts=*/fits && cache_bytes == 0));
  return {.expert_cache_bytes = cache_bytes, .replicas = nullptr};
}

}  // namespace lethe::model
