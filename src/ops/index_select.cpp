#include "ops/index_select.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "ops/top_k.h"

namespace lethe::ops {

namespace {

constexpr int64_t kScoresAtOnce = 512;
constexpr int64_t kKeysPerPiece = 2048;  // of one query, when the team shares them out

/// The best keys and blocks of some of the keys.
struct Best {
  TopK keys;
  TopK blocks;

  void reset(const KeyChoice& choice) {
    keys.reset(choice.keys);
    blocks.reset(choice.blocks);
  }
  void offer(const Best& other) {
    keys.offer(other.keys);
    blocks.offer(other.blocks);
  }
};

/// Scores of keys from `first` on, a multiple of the block size, as blocks; the block `newest` has
/// no rival.
void offer_blocks(std::span<const float> scores, int64_t first, int64_t size, int64_t newest,
                  TopK& blocks) {
  const auto length = static_cast<size_t>(size);
  for (size_t at = 0; at < scores.size(); at += length) {
    const auto block = scores.subspan(at, std::min(length, scores.size() - at));
    const int64_t number = (first + static_cast<int64_t>(at)) / size;
    // Not max_element: a NaN is passed over, wherever it stands.
    float best = -std::numeric_limits<float>::infinity();
    for (const float score : block) best = score > best ? score : best;
    blocks.offer(number == newest ? std::numeric_limits<float>::infinity() : best, number);
  }
}

/// One pass over a run of keys.
class Scan {
 public:
  Scan(const Device& device, const IndexQuery& query, const IndexCodes& codes,
       const KeyChoice& choice, int64_t last_key)
      : device_(device),
        query_(query),
        codes_(codes),
        choice_(choice),
        newest_(last_key / choice.keys_per_block),
        step_(std::max<int64_t>(1, kScoresAtOnce / choice.keys_per_block) * choice.keys_per_block) {
    LETHE_CHECK(choice.blocks == 0 || step_ <= kScoresAtOnce, "blocks of {} keys",
                choice.keys_per_block);
  }

  void operator()(const KeyRun& run, Best& best) const {
    std::array<float, kScoresAtOnce> room;
    for (int64_t begin = run.begin; begin < run.end;) {
      // Up to a boundary between blocks.
      const int64_t end = choice_.blocks > 0 ? std::min((begin / step_ + 1) * step_, run.end)
                                             : std::min(begin + kScoresAtOnce, run.end);
      const auto scores = std::span(room).first(static_cast<size_t>(end - begin));
      index_scores(device_, query_, codes_, begin, end, scores);
      best.keys.offer(scores, begin);
      if (choice_.blocks > 0) {
        offer_blocks(scores, begin, choice_.keys_per_block, newest_, best.blocks);
      }
      begin = end;
    }
  }

 private:
  const Device& device_;
  const IndexQuery& query_;
  const IndexCodes& codes_;
  const KeyChoice& choice_;
  int64_t newest_;
  int64_t step_;
};

/// Bests for as many pieces as are scanned at once: one for each thread that comes.
class BestPool {
 public:
  explicit BestPool(size_t threads) : all_(threads) {}

  void reset(const KeyChoice& choice) {
    used_ = 0;
    free_.clear();
    choice_ = choice;
  }
  Best* take() {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      Best* const best = free_.back();
      free_.pop_back();
      return best;
    }
    LETHE_CHECK(used_ < all_.size());
    Best* const best = &all_[used_++];
    best->reset(choice_);
    return best;
  }
  void give(Best* best) {
    const std::lock_guard lock(mutex_);
    free_.push_back(best);
  }
  std::span<const Best> used() const { return std::span(all_).first(used_); }
  size_t size() const noexcept { return all_.size(); }

 private:
  std::mutex mutex_;
  std::vector<Best> all_;
  std::vector<Best*> free_;
  size_t used_ = 0;
  KeyChoice choice_;
};

/// Runs cut into pieces at multiples of kKeysPerPiece, which no block straddles.
void cut(std::span<const KeyRun> runs, int64_t keys_per_block, std::vector<KeyRun>& pieces) {
  const int64_t step = (kKeysPerPiece + keys_per_block - 1) / keys_per_block * keys_per_block;
  pieces.clear();
  for (const KeyRun& run : runs) {
    for (int64_t begin = run.begin; begin < run.end;) {
      const int64_t end = std::min((begin / step + 1) * step, run.end);
      pieces.push_back({begin, end});
      begin = end;
    }
  }
}

/// Neighbouring pieces are taken together, where they are short: candidate blocks.
int64_t pieces_at_once(std::span<const KeyRun> pieces) {
  int64_t keys = 0;
  for (const KeyRun& piece : pieces) keys += piece.end - piece.begin;
  const int64_t mean = keys / std::max<int64_t>(1, static_cast<int64_t>(pieces.size()));
  return std::max<int64_t>(1, kKeysPerPiece / 2 / std::max<int64_t>(1, mean));
}

void scan_together(const Device& device, std::span<const KeyRun> runs, const KeyChoice& choice,
                   const Scan& scan, Best& best) {
  thread_local std::unique_ptr<BestPool> pool;
  thread_local std::vector<KeyRun> pieces;
  const auto threads = static_cast<size_t>(device.team().size());
  if (pool == nullptr || pool->size() != threads) pool = std::make_unique<BestPool>(threads);
  pool->reset(choice);
  cut(runs, choice.keys_per_block, pieces);
  // Thread-local names mean another thread's within the team.
  BestPool& shared_pool = *pool;
  const std::span<const KeyRun> shared_pieces = pieces;
  device.team().parallel_for(static_cast<int64_t>(pieces.size()), pieces_at_once(pieces),
                             [&](int64_t begin, int64_t end) {
                               Best* const mine = shared_pool.take();
                               for (int64_t i = begin; i < end; ++i) {
                                 scan(shared_pieces[static_cast<size_t>(i)], *mine);
                               }
                               shared_pool.give(mine);
                             });
  for (const Best& part : pool->used()) best.offer(part);
}

}  // namespace

void select_keys(const Device& device, const IndexQuery& query, std::span<const KeyRun> runs,
                 const KeyChoice& choice, bool share_keys, std::span<int32_t> selected,
                 RecycledVector<int32_t>* blocks) {
  LETHE_CHECK((blocks != nullptr) == (choice.blocks > 0));
  LETHE_CHECK(static_cast<int64_t>(selected.size()) >= choice.keys);
  thread_local Best best;
  thread_local IndexCodes codes;
  best.reset(choice);
  if (!runs.empty()) {
    if (device.numerics() == Numerics::Fast) {
      codes.assign(query.q, query.weights, query.codec.dim());
    }
    const Scan scan(device, query, codes, choice, runs.back().end - 1);
    if (share_keys) {
      scan_together(device, runs, choice, scan, best);
    } else {
      for (const KeyRun& run : runs) scan(run, best);
    }
  }
  const int64_t count = choice.ascending ? best.keys.ascending(selected) : best.keys.best(selected);
  std::fill(selected.begin() + count, selected.end(), -1);
  if (blocks == nullptr) return;
  blocks->resize(static_cast<size_t>(best.blocks.size()));
  best.blocks.ascending(*blocks);
}

}  // namespace lethe::ops
