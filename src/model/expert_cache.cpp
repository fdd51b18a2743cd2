#include "model/expert_cache.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "model/slot_memory.h"
#include "model/slot_policy.h"

namespace lethe::model {

namespace {

constexpr size_t kBlock = DirectReader::kBlock;
constexpr size_t kLookahead = 4;  // experts to have on their way, even at the cost of later ones

/// Whole blocks of a file, and where in the slot they go.
struct Extent {
  int file = -1;
  uint64_t offset = 0;
  size_t slot_offset = 0;
  size_t size = 0;
  size_t needed = 0;  // of it; the file may end then
};

/// An expert as the cache knows it.
struct Expert {
  ops::ExpertWeights weights;  // pointers into the mapped file, to be replaced
  std::vector<Extent> extents;
  // Of the data and the scales of w1, w3, w2 in the slot; unused where there are no scales.
  std::array<size_t, 6> places = {};
  size_t slot_bytes() const {
    return extents.empty() ? 0 : extents.back().slot_offset + extents.back().size;
  }
};

/// The blocks that hold the parts, in the order of the files; parts that share a block, or lie next
/// to each other, share an extent.
std::vector<Extent> extents_of(std::span<const StoredExpert::Part> parts, DirectReader& reader) {
  std::vector<Extent> pieces;
  for (const StoredExpert::Part& part : parts) {
    const uint64_t begin = part.offset / kBlock * kBlock;
    const uint64_t end = part.offset + part.mapped.size();
    pieces.push_back({.file = reader.open(part.file),
                      .offset = begin,
                      .size = (end - begin + kBlock - 1) / kBlock * kBlock,
                      .needed = end - begin});
  }
  std::sort(pieces.begin(), pieces.end(), [](const Extent& a, const Extent& b) {
    return a.file != b.file ? a.file < b.file : a.offset < b.offset;
  });
  std::vector<Extent> extents;
  for (const Extent& piece : pieces) {
    if (!extents.empty()) {
      Extent& last = extents.back();
      if (last.file == piece.file && piece.offset <= last.offset + last.size) {
        const uint64_t shift = piece.offset - last.offset;
        last.size = std::max(last.size, shift + piece.size);
        last.needed = std::max(last.needed, shift + piece.needed);
        continue;
      }
    }
    extents.push_back(piece);
  }
  size_t at = 0;
  for (Extent& extent : extents) {
    extent.slot_offset = at;
    at += extent.size;
  }
  return extents;
}

/// Where in the slot the byte at `mapped` goes.
size_t place_of(const std::byte* mapped, const StoredExpert& stored,
                std::span<const Extent> extents, DirectReader& reader) {
  for (const StoredExpert::Part& part : stored.parts) {
    if (mapped < part.mapped.data() || mapped >= part.mapped.data() + part.mapped.size()) continue;
    const int file = reader.open(part.file);
    const uint64_t offset = part.offset + static_cast<uint64_t>(mapped - part.mapped.data());
    for (const Extent& extent : extents) {
      if (extent.file == file && offset >= extent.offset && offset < extent.offset + extent.size) {
        return extent.slot_offset + (offset - extent.offset);
      }
    }
  }
  LETHE_CHECK(false, "weights outside of their expert's parts");
  return 0;
}

/// data and scales of w1, w3, w2.
std::array<const std::byte**, 6> pointers_of(ops::ExpertWeights& weights) {
  return {&weights.w1.weight.data,   &weights.w1.weight.scales, &weights.w3.weight.data,
          &weights.w3.weight.scales, &weights.w2.weight.data,   &weights.w2.weight.scales};
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

struct ExpertCache::Impl {
  Options options;
  std::vector<Expert> experts;        // of all groups; a key is a place in it
  std::vector<int64_t> group_begins;  // and the end of the last one
  int64_t experts_per_token = 0;      // the most of any group
  size_t slot_bytes = 0;
  SlotMemory memory;  // before the reader, which ends first: reads write into it
  std::unique_ptr<DirectReader> reader;
  std::optional<SlotPolicy> policy;
  std::vector<DirectReader::Ticket> tickets;  // [slots]; 0: nothing on its way
  std::vector<int64_t> loading;               // slots with a ticket, oldest first
  Stats stats;                                // of the engine's thread
  mutable std::mutex published_mutex;
  Stats published;  // for everybody

  /// Whether the key's expert has a slot, pinned now, with its bytes in it or on their way.
  bool request(int64_t key, bool from_needed);
  bool begin_load(int64_t key, bool from_needed);
  bool is_there(int64_t slot);
  void finish_load(int64_t slot);
  void settle();
  void wait_for_any();
  ops::ExpertWeights weights_of(int64_t key) const;
  void publish();
};

bool ExpertCache::Impl::request(int64_t key, bool from_needed) {
  const bool hit = policy->slot_of(key) >= 0;
  if (!hit && !begin_load(key, from_needed)) return false;
  ++(hit ? stats.hits : stats.misses);
  policy->pin(policy->slot_of(key));
  policy->use(key);
  return true;
}

/// A slot for an absent expert, and its reads. The slot is pinned until they have ended.
bool ExpertCache::Impl::begin_load(int64_t key, bool from_needed) {
  const int64_t slot = policy->take(key, from_needed);
  if (slot < 0) return false;
  RecycledVector<DirectReader::Range> ranges;
  const std::span<std::byte> bytes = memory.slot(slot);
  for (const Extent& extent : experts[static_cast<size_t>(key)].extents) {
    ranges.push_back({.file = extent.file,
                      .offset = extent.offset,
                      .into = bytes.subspan(extent.slot_offset, extent.size),
                      .needed = extent.needed});
  }
  tickets[static_cast<size_t>(slot)] = reader->begin(ranges);
  loading.push_back(slot);
  policy->pin(slot);
  return true;
}

bool ExpertCache::Impl::is_there(int64_t slot) {
  const DirectReader::Ticket ticket = tickets[static_cast<size_t>(slot)];
  if (ticket == 0) return true;
  if (!reader->is_done(ticket)) return false;
  finish_load(slot);
  return true;
}

/// Waits for a slot's reads; if they failed it is empty afterwards. Throws IoError.
void ExpertCache::Impl::finish_load(int64_t slot) {
  const DirectReader::Ticket ticket = tickets[static_cast<size_t>(slot)];
  if (ticket == 0) return;
  tickets[static_cast<size_t>(slot)] = 0;
  std::erase(loading, slot);
  policy->unpin(slot);
  try {
    reader->wait(ticket);
  } catch (...) {
    policy->forget(slot);
    throw;
  }
}

/// Takes note of reads that have ended. A failed prefetch is no error: whoever needs that expert
/// asks for it again, and hears of it then.
void ExpertCache::Impl::settle() {
  for (const int64_t slot : RecycledVector<int64_t>(loading.begin(), loading.end())) {
    try {
      static_cast<void>(is_there(slot));
    } catch (const IoError&) {
      continue;
    }
  }
}

void ExpertCache::Impl::wait_for_any() {
  LETHE_CHECK(!loading.empty(), "no slot can be had, and none will be");
  try {
    finish_load(loading.front());
  } catch (const IoError&) {
    return;  // its slot is free, which is all that was wanted
  }
}

ops::ExpertWeights ExpertCache::Impl::weights_of(int64_t key) const {
  const Expert& expert = experts[static_cast<size_t>(key)];
  const std::byte* slot = memory.slot(policy->slot_of(key)).data();
  ops::ExpertWeights weights = expert.weights;
  const auto pointers = pointers_of(weights);
  for (size_t i = 0; i < pointers.size(); ++i) {
    if (*pointers[i] != nullptr) *pointers[i] = slot + expert.places[i];
  }
  return weights;
}

void ExpertCache::Impl::publish() {
  stats.bytes_read = static_cast<int64_t>(reader->stats().bytes_read);
  stats.read_s = reader->stats().busy_s;
  const std::lock_guard lock(published_mutex);
  published = stats;
}

ExpertCache::ExpertCache(const Options& options)
    : ExpertCache(options, std::make_unique<DirectReader>(options.reader)) {}

ExpertCache::ExpertCache(const Options& options, std::unique_ptr<DirectReader> reader)
    : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->reader = std::move(reader);
  impl_->group_begins.push_back(0);
}

ExpertCache::~ExpertCache() = default;

int ExpertCache::add_group(std::span<const StoredExpert> experts, int64_t experts_per_token) {
  LETHE_CHECK(!impl_->policy, "a group after make_slots()");
  for (const StoredExpert& stored : experts) {
    Expert expert{.weights = stored.weights, .extents = extents_of(stored.parts, *impl_->reader)};
    const auto pointers = pointers_of(expert.weights);
    for (size_t i = 0; i < pointers.size(); ++i) {
      if (*pointers[i] == nullptr) continue;
      expert.places[i] = place_of(*pointers[i], stored, expert.extents, *impl_->reader);
    }
    impl_->slot_bytes = std::max(impl_->slot_bytes, expert.slot_bytes());
    impl_->experts.push_back(std::move(expert));
  }
  impl_->group_begins.push_back(static_cast<int64_t>(impl_->experts.size()));
  impl_->experts_per_token = std::max(impl_->experts_per_token, experts_per_token);
  return static_cast<int>(impl_->group_begins.size()) - 2;
}

void ExpertCache::make_slots() {
  const auto num_experts = static_cast<int64_t>(impl_->experts.size());
  const auto slot_bytes = static_cast<int64_t>(impl_->slot_bytes);
  LETHE_CHECK(num_experts > 0 && slot_bytes > 0);
  const int64_t least = std::min(num_experts, 2 * impl_->experts_per_token);
  const int64_t slots = std::min(num_experts, impl_->options.bytes / slot_bytes);
  if (slots < least) {
    throw LoadError(
        "An expert cache of {} kB is too small: this model needs room for {} experts of {} kB. "
        "Give "
        "--expert-cache {}kB or more.",
        impl_->options.bytes / 1000, least, (slot_bytes + 999) / 1000,
        (least * slot_bytes + 999) / 1000);
  }
  const auto hot = static_cast<int64_t>(impl_->options.hot_share * static_cast<double>(slots));
  impl_->memory = SlotMemory(slots, slot_bytes);
  impl_->policy.emplace(
      SlotPolicy::Sizes{.keys = num_experts,
                        .slots = slots,
                        .hot_max = std::clamp<int64_t>(hot, 0, slots - std::min(slots, least)),
                        .hot_period = std::max<int64_t>(1024, 4 * slots)});
  impl_->tickets.resize(static_cast<size_t>(slots));
  impl_->stats.slots = slots;
  impl_->stats.experts = num_experts;
  impl_->stats.slot_bytes = slot_bytes;
  impl_->publish();
}

void ExpertCache::prefetch(int group, std::span<const int32_t> experts) {
  impl_->settle();
  const int64_t begin = impl_->group_begins[static_cast<size_t>(group)];
  const int64_t most = std::max<int64_t>(1, impl_->policy->num_slots() / 4);
  for (const int32_t expert : experts) {
    if (static_cast<int64_t>(impl_->loading.size()) >= most) break;
    const int64_t key = begin + expert;
    if (impl_->policy->slot_of(key) >= 0) continue;
    if (!impl_->begin_load(key, /*from_needed=*/false)) break;
    ++impl_->stats.prefetched;
  }
}

ExpertCache::Stats ExpertCache::stats() const {
  const std::lock_guard lock(impl_->published_mutex);
  return impl_->published;
}

std::string ExpertCache::reader_name() const {
  return fmt::format("{}{}", impl_->reader->backend_name(),
                     impl_->reader->is_direct() ? "" : ", buffered");
}

double ExpertCache::Stats::in_memory_share() const {
  if (uses() == 0) return 1;
  const double read = static_cast<double>(misses + prefetched) / static_cast<double>(uses());
  return std::max(0.0, 1 - read);
}

double ExpertCache::Stats::read_gb_s() const {
  return read_s > 0 ? static_cast<double>(bytes_read) * 1e-9 / read_s : 0;
}

ExpertCache::Stats ExpertCache::Stats::since(const Stats& earlier) const {
  Stats out = *this;
  out.hits -= earlier.hits;
  out.misses -= earlier.misses;
  out.prefetched -= earlier.prefetched;
  out.bytes_read -= earlier.bytes_read;
  out.wait_s -= earlier.wait_s;
  out.read_s -= earlier.read_s;
  return out;
}

std::unique_ptr<ExpertCache> make_expert_cache(int64_t bytes) {
  if (bytes == 0) return nullptr;
  return std::make_unique<ExpertCache>(ExpertCache::Options{.bytes = bytes});
}

ExpertWaves::ExpertWaves(ExpertCache& cache, int group, std::span<const int32_t> experts)
    : cache_(*cache.impl_),
      group_begin_(cache_.group_begins[static_cast<size_t>(group)]),
      table_(
          static_cast<size_t>(cache_.group_begins[static_cast<size_t>(group) + 1] - group_begin_)) {
  for (const int32_t expert : experts) {
    LETHE_CHECK(expert >= 0 && static_cast<size_t>(expert) < table_.size());
    LETHE_CHECK(keys_.empty() || group_begin_ + expert > keys_.back());
    keys_.push_back(group_begin_ + expert);
  }
  cache_.settle();
  cache_.policy->set_needed(keys_);
  request_more();
}

ExpertWaves::~ExpertWaves() {
  for (; done_ < requested_; ++done_) cache_.policy->unpin(slots_[done_]);
  cache_.policy->set_needed({});
  cache_.publish();
}

/// Asks for experts in their order, as many as slots can be had for.
void ExpertWaves::request_more() {
  while (requested_ < keys_.size() &&
         cache_.request(keys_[requested_], requested_ - done_ < kLookahead)) {
    slots_.push_back(cache_.policy->slot_of(keys_[requested_++]));
  }
}

void ExpertWaves::end_wave() {
  for (; done_ < wave_end_; ++done_) {
    table_[static_cast<size_t>(keys_[done_] - group_begin_)] = {};
    cache_.policy->unpin(slots_[done_]);
    cache_.policy->drop_needed(keys_[done_]);
  }
}

std::span<const ops::ExpertWeights> ExpertWaves::next() {
  end_wave();
  if (done_ == keys_.size()) return {};
  request_more();
  while (requested_ == done_) {
    cache_.wait_for_any();
    request_more();
  }
  const auto begin = std::chrono::steady_clock::now();
  cache_.finish_load(slots_[done_]);
  cache_.stats.wait_s += seconds_since(begin);
  // If not all have slots, the wave leaves some of what is there: while it is computed with, the
  // slots of the one before it are being filled.
  const size_t held = requested_ - done_;
  const size_t most = requested_ == keys_.size() ? held : std::max<size_t>(1, held / 4);
  for (wave_end_ = done_; wave_end_ < done_ + most && cache_.is_there(slots_[wave_end_]);) {
    const int64_t key = keys_[wave_end_++];
    table_[static_cast<size_t>(key - group_begin_)] = cache_.weights_of(key);
  }
  return table_;
}

}  // namespace lethe::model
