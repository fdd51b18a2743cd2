#include "model/slot_policy.h"

#include <algorithm>

#include "base/check.h"
#include "base/recycled_memory.h"

namespace lethe::model {

namespace {

constexpr float kFade = 0.5f;      // of the counts, whenever the hot keys are chosen
constexpr float kHotCount = 1.5f;  // below it a key was used once: no reason to keep it

}  // namespace

SlotPolicy::SlotPolicy(const Sizes& sizes)
    : sizes_(sizes),
      slots_(static_cast<size_t>(sizes.slots)),
      key_slots_(static_cast<size_t>(sizes.keys), -1),
      counts_(static_cast<size_t>(sizes.keys)),
      hot_(static_cast<size_t>(sizes.keys)),
      needed_(static_cast<size_t>(sizes.keys)) {
  LETHE_CHECK(sizes.slots >= 1 && sizes.hot_max >= 0 && sizes.hot_max < sizes.slots);
  LETHE_CHECK(sizes.hot_period >= 1);
}

void SlotPolicy::use(int64_t key) {
  counts_[static_cast<size_t>(key)] += 1;
  if (++uses_ % sizes_.hot_period == 0) choose_hot();
  const int64_t slot = slot_of(key);
  if (slot >= 0) slots_[static_cast<size_t>(slot)].last_use = uses_;
}

void SlotPolicy::unpin(int64_t slot) {
  Slot& it = slots_[static_cast<size_t>(slot)];
  LETHE_CHECK(it.pins > 0);
  --it.pins;
}

void SlotPolicy::set_needed(std::span<const int64_t> keys) {
  for (const int64_t key : needed_list_) needed_[static_cast<size_t>(key)] = false;
  needed_list_.assign(keys.begin(), keys.end());
  for (const int64_t key : needed_list_) needed_[static_cast<size_t>(key)] = true;
}

int64_t SlotPolicy::find_victim(int64_t key, bool from_needed) const {
  int64_t oldest = -1;
  int64_t highest = -1;
  for (int64_t s = 0; s < num_slots(); ++s) {
    const Slot& slot = slots_[static_cast<size_t>(s)];
    if (slot.pins > 0) continue;
    if (slot.key < 0) return s;
    if (needed_[static_cast<size_t>(slot.key)]) {
      if (slot.key > key && (highest < 0 || slot.key > key_of(highest))) highest = s;
      continue;
    }
    if (is_hot(slot.key)) continue;
    if (oldest < 0 || slot.last_use < slots_[static_cast<size_t>(oldest)].last_use) oldest = s;
  }
  if (oldest >= 0 || !from_needed) return oldest;
  return highest;
}

int64_t SlotPolicy::take(int64_t key, bool from_needed) {
  LETHE_CHECK(slot_of(key) < 0);
  const int64_t s = find_victim(key, from_needed);
  if (s < 0) return -1;
  forget(s);
  Slot& slot = slots_[static_cast<size_t>(s)];
  slot.key = key;
  slot.last_use = uses_;
  key_slots_[static_cast<size_t>(key)] = s;
  return s;
}

void SlotPolicy::forget(int64_t slot) {
  Slot& it = slots_[static_cast<size_t>(slot)];
  if (it.key >= 0) key_slots_[static_cast<size_t>(it.key)] = -1;
  it.key = -1;
}

void SlotPolicy::choose_hot() {
  RecycledVector<int64_t> order;
  for (int64_t key = 0; key < sizes_.keys; ++key) {
    hot_[static_cast<size_t>(key)] = false;
    if (counts_[static_cast<size_t>(key)] >= kHotCount) order.push_back(key);
  }
  num_hot_ = std::min(sizes_.hot_max, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + num_hot_, order.end(),
                    [this](int64_t a, int64_t b) {
                      const float count_a = counts_[static_cast<size_t>(a)];
                      const float count_b = counts_[static_cast<size_t>(b)];
                      return count_a != count_b ? count_a > count_b : a < b;
                    });
  for (int64_t i = 0; i < num_hot_; ++i)
    hot_[static_cast<size_t>(order[static_cast<size_t>(i)])] = true;
  for (float& count : counts_) count *= kFade;
}

}  // namespace lethe::model
