#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/direct_reader.h"
#include "base/recycled_memory.h"
#include "ops/experts.h"

namespace lethe::model {

/// A routed expert in its checkpoint: views of the mapped file, and where those bytes lie.
struct StoredExpert {
  struct Part {
    std::span<const std::byte> mapped;
    std::string file;
    uint64_t offset = 0;  ///< of `mapped` in the file, bytes
  };
  ops::ExpertWeights weights;
  std::vector<Part> parts;  ///< every byte that `weights` refers to is in one of them
};

/// Keeps as many routed experts in memory as a given size allows, for checkpoints that memory does
/// not hold: the rest is read from the files when the router asks for it, past the page cache.
/// Experts lie in equal slots; the most used ones keep theirs (SlotPolicy).
///
/// First every mixture of experts is added as a group, then make_slots(), then ExpertWaves and
/// prefetch(). For the one thread that runs the model; stats() for any.
class ExpertCache {
 public:
  struct Options {
    int64_t bytes = 0;       ///< of all slots, at most
    double hot_share = 0.5;  ///< of the slots: for the most used experts
    DirectReader::Options reader = {};
  };
  explicit ExpertCache(const Options& options);
  ExpertCache(const Options& options, std::unique_ptr<DirectReader> reader);  ///< for tests
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  /// The experts of one block, of which a token uses `experts_per_token`; gives the number of the
  /// group. Throws LoadError if a file cannot be opened.
  int add_group(std::span<const StoredExpert> experts, int64_t experts_per_token);
  /// After the last group. Throws LoadError if the size is not enough for twice the experts that a
  /// token uses in one block, and says how much is; Error if the memory cannot be had.
  void make_slots();

  /// Begins to read those of a group's experts (ascending) that are not there, as far as a quarter
  /// of the slots allows, without waiting.
  void prefetch(int group, std::span<const int32_t> experts);

  struct Stats {
    int64_t slots = 0;
    int64_t experts = 0;  ///< of all groups
    int64_t slot_bytes = 0;
    int64_t hits = 0;    ///< uses of an expert that was there, or on its way
    int64_t misses = 0;  ///< uses of one that had to be asked for
    int64_t prefetched = 0;
    int64_t bytes_read = 0;
    double wait_s = 0;  ///< time in which the model waited for reads
    double read_s = 0;  ///< time with a read in flight
    int64_t uses() const { return hits + misses; }
    /// Share of the uses that needed no reading, early or late; 1 if there were none.
    double in_memory_share() const;
    double read_gb_s() const;  ///< 1 GB = 10^9 bytes
    /// What happened since `earlier`.
    Stats since(const Stats& earlier) const;
  };
  Stats stats() const;
  std::string reader_name() const;  ///< "io_uring", "threads", with ", buffered" if not direct

 private:
  friend class ExpertWaves;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A cache of that size; null for 0.
std::unique_ptr<ExpertCache> make_expert_cache(int64_t bytes);

/// The experts that one forward pass of a block uses, in ascending order and in waves: those that
/// are there, while the next ones are being read. Begins to read at once. One at a time.
class ExpertWaves {
 public:
  /// experts: ascending, each once, of the group.
  ExpertWaves(ExpertCache& cache, int group, std::span<const int32_t> experts);
  ~ExpertWaves();
  ExpertWaves(const ExpertWaves&) = delete;
  ExpertWaves& operator=(const ExpertWaves&) = delete;

  /// The next wave, one entry for every expert of the group: weights in memory for those of the
  /// wave, absent ones for all others. Valid until the next call. Waits until the first expert of
  /// the wave is there. Empty when all experts were in a wave. Throws IoError.
  std::span<const ops::ExpertWeights> next();

 private:
  ExpertCache::Impl& cache_;
  RecycledVector<int64_t> keys_;
  RecycledVector<int64_t> slots_;  // of the keys requested so far
  int64_t group_begin_;
  size_t done_ = 0;       // keys of former waves
  size_t wave_end_ = 0;   // keys of this wave end here
  size_t requested_ = 0;  // their slots are pinned
  RecycledVector<ops::ExpertWeights> table_;

  void request_more();
  void end_wave();
};

}  // namespace lethe::model
