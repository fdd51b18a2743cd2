#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lethe::model {

/// Which of many things (keys 0, 1, ...) lie in which of a few slots, and which gives way to a new
/// one: the one not used for longest that is neither pinned, nor hot, nor needed by the run in
/// progress. Hot are the most used keys by counts that fade; they are chosen anew every so many
/// uses and keep their slots until then. Bookkeeping only; one thread.
class SlotPolicy {
 public:
  struct Sizes {
    int64_t keys = 0;
    int64_t slots = 0;
    int64_t hot_max = 0;     ///< keys that may be hot at a time, fewer than slots
    int64_t hot_period = 0;  ///< uses after which the hot keys are chosen anew
  };
  explicit SlotPolicy(const Sizes& sizes);

  int64_t num_slots() const noexcept { return static_cast<int64_t>(slots_.size()); }
  /// -1: in none.
  int64_t slot_of(int64_t key) const { return key_slots_[static_cast<size_t>(key)]; }
  /// -1: empty.
  int64_t key_of(int64_t slot) const { return slots_[static_cast<size_t>(slot)].key; }
  bool is_hot(int64_t key) const { return hot_[static_cast<size_t>(key)]; }
  int64_t num_hot() const noexcept { return num_hot_; }

  /// Counts a use. The slot, if the key is in one, becomes the one used last.
  void use(int64_t key);
  /// A pinned slot keeps its key. Pins count.
  void pin(int64_t slot) { ++slots_[static_cast<size_t>(slot)].pins; }
  void unpin(int64_t slot);

  /// The keys that the run in progress will use, replacing those of the run before: they give way
  /// only if take() says so.
  void set_needed(std::span<const int64_t> keys);
  /// It was used: the run does not come back to it.
  void drop_needed(int64_t key) { needed_[static_cast<size_t>(key)] = false; }

  /// Gives `key`, which is in no slot, an empty one or that of a key that gives way. `from_needed`:
  /// if there is no other, of the needed keys the highest gives way, if it is above `key`. -1:
  /// none.
  int64_t take(int64_t key, bool from_needed);
  /// Empties a slot: what should be in it is not.
  void forget(int64_t slot);

 private:
  struct Slot {
    int64_t key = -1;
    int64_t pins = 0;
    int64_t last_use = 0;
  };
  int64_t find_victim(int64_t key, bool from_needed) const;
  void choose_hot();

  Sizes sizes_;
  std::vector<Slot> slots_;
  std::vector<int64_t> key_slots_;  // [keys]
  std::vector<float> counts_;       // [keys]
  std::vector<bool> hot_;           // [keys]
  std::vector<bool> needed_;        // [keys]
  std::vector<int64_t> needed_list_;
  int64_t num_hot_ = 0;
  int64_t uses_ = 0;
};

}  // namespace lethe::model
