#include "model/slot_policy.h"

#include <gtest/gtest.h>

#include <list>
#include <numeric>
#include <random>
#include <set>

namespace lethe::model {
namespace {

/// Uses a key as a cache does.
int64_t use(SlotPolicy& policy, int64_t key, bool from_needed = false) {
  if (policy.slot_of(key) < 0 && policy.take(key, from_needed) < 0) return -1;
  policy.use(key);
  return policy.slot_of(key);
}

TEST(SlotPolicy, TheOneNotUsedForLongestGivesWay) {
  SlotPolicy policy({.keys = 5, .slots = 2, .hot_max = 0, .hot_period = 1000});
  use(policy, 0);
  use(policy, 1);
  use(policy, 0);
  use(policy, 4);
  EXPECT_GE(policy.slot_of(0), 0);
  EXPECT_EQ(policy.slot_of(1), -1);
  EXPECT_EQ(policy.key_of(policy.slot_of(4)), 4);
}

// Every sequence of 7 uses of 4 keys in 1 to 3 slots, against a list that is kept in order.
TEST(SlotPolicy, IsLeastRecentlyUsedInEverySmallCase) {
  for (int64_t slots = 1; slots <= 3; ++slots) {
    for (int code = 0; code < 1 << 14; ++code) {
      SlotPolicy policy({.keys = 4, .slots = slots, .hot_max = 0, .hot_period = 1000});
      std::list<int64_t> expected;  // last used first
      for (int i = 0; i < 7; ++i) {
        const int64_t key = (code >> (2 * i)) & 3;
        use(policy, key);
        expected.remove(key);
        expected.push_front(key);
        if (static_cast<int64_t>(expected.size()) > slots) expected.pop_back();
        for (int64_t k = 0; k < 4; ++k) {
          const bool there = std::find(expected.begin(), expected.end(), k) != expected.end();
          ASSERT_EQ(policy.slot_of(k) >= 0, there) << "slots " << slots << " code " << code;
        }
      }
    }
  }
}

TEST(SlotPolicy, PinnedSlotsStay) {
  SlotPolicy policy({.keys = 4, .slots = 2, .hot_max = 0, .hot_period = 1000});
  policy.pin(use(policy, 0));
  policy.pin(use(policy, 1));
  EXPECT_EQ(policy.take(2, true), -1);
  policy.unpin(policy.slot_of(0));
  EXPECT_GE(policy.take(2, false), 0);
  EXPECT_EQ(policy.slot_of(0), -1);
}

TEST(SlotPolicy, TheMostUsedKeepTheirSlots) {
  SlotPolicy policy({.keys = 10, .slots = 3, .hot_max = 2, .hot_period = 12});
  for (int i = 0; i < 4; ++i) {
    use(policy, 7);
    use(policy, 3);
    use(policy, i);  // others come and go
  }
  EXPECT_TRUE(policy.is_hot(7));
  EXPECT_TRUE(policy.is_hot(3));
  EXPECT_EQ(policy.num_hot(), 2);
  for (int64_t key = 0; key < 10; ++key) {
    use(policy, key);
    ASSERT_GE(policy.slot_of(7), 0);
    ASSERT_GE(policy.slot_of(3), 0);
  }
}

TEST(SlotPolicy, WhatIsHotFades) {
  SlotPolicy policy({.keys = 6, .slots = 3, .hot_max = 1, .hot_period = 10});
  for (int i = 0; i < 10; ++i) use(policy, 0);
  EXPECT_TRUE(policy.is_hot(0));
  for (int i = 0; i < 20; ++i) use(policy, 5);
  EXPECT_TRUE(policy.is_hot(5));
  EXPECT_FALSE(policy.is_hot(0));
}

TEST(SlotPolicy, KeysUsedOnceAreNotHot) {
  SlotPolicy policy({.keys = 20, .slots = 4, .hot_max = 3, .hot_period = 20});
  for (int64_t key = 0; key < 20; ++key) use(policy, key);
  EXPECT_EQ(policy.num_hot(), 0);
}

TEST(SlotPolicy, NeededKeysGiveWayLastAndFromTheEnd) {
  SlotPolicy policy({.keys = 8, .slots = 3, .hot_max = 0, .hot_period = 1000});
  for (const int64_t key : {2, 5, 7}) use(policy, key);
  const std::vector<int64_t> needed = {1, 2, 5, 6, 7};
  policy.set_needed(needed);
  EXPECT_EQ(policy.take(1, false), -1);
  const int64_t slot_of_7 = policy.slot_of(7);
  EXPECT_EQ(policy.take(1, true), slot_of_7);
  policy.pin(policy.slot_of(1));
  EXPECT_GE(policy.take(6, true), -1);
  EXPECT_EQ(policy.slot_of(6), -1) << "2 and 5 come before 6: they must not make room for it";
  policy.drop_needed(2);
  EXPECT_GE(policy.take(6, false), 0);
  EXPECT_EQ(policy.slot_of(2), -1);
}

// Whatever happens: a key is in one slot at most, pinned and hot ones stay where they are.
TEST(SlotPolicy, KeepsItsPromisesInRandomRuns) {
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    const int64_t keys = 3 + static_cast<int64_t>(random() % 20);
    const int64_t slots = 1 + static_cast<int64_t>(random() % 8);
    const int64_t hot = static_cast<int64_t>(random()) % slots;
    SlotPolicy policy({.keys = keys, .slots = slots, .hot_max = hot, .hot_period = 17});
    std::multiset<int64_t> pinned;
    for (int step = 0; step < 400; ++step) {
      const auto key = static_cast<int64_t>(random() % static_cast<uint64_t>(keys));
      std::vector<int64_t> kept(pinned.begin(), pinned.end());
      for (int64_t k = 0; k < keys; ++k) {
        if (policy.is_hot(k) && policy.slot_of(k) >= 0) kept.push_back(k);
      }
      if (policy.slot_of(key) < 0) policy.take(key, false);
      for (const int64_t k : kept) ASSERT_GE(policy.slot_of(k), 0);
      policy.use(key);
      if (policy.slot_of(key) >= 0 && static_cast<int64_t>(pinned.size()) < slots &&
          random() % 3 == 0) {
        policy.pin(policy.slot_of(key));
        pinned.insert(key);
      }
      if (!pinned.empty() && random() % 3 == 0) {
        policy.unpin(policy.slot_of(*pinned.begin()));
        pinned.erase(pinned.begin());
      }
      ASSERT_LE(policy.num_hot(), hot);
      for (int64_t s = 0; s < slots; ++s) {
        if (policy.key_of(s) < 0) continue;
        ASSERT_EQ(policy.slot_of(policy.key_of(s)), s);
      }
    }
  }
}

}  // namespace
}  // namespace lethe::model
