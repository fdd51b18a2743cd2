#include "ops/row_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/error.h"

namespace lethe::ops {
namespace {

constexpr int64_t kRowBytes = 12;

/// A store beside the plain list that it should behave like.
struct Pair {
  RowStore store{kRowBytes, 8};
  std::vector<int64_t> rows;  // value of every row ever appended and not truncated
  int64_t begin = 0;
};

void append(Pair& pair, int64_t count, int64_t& next) {
  const int64_t first = pair.store.append(count);
  ASSERT_EQ(first, static_cast<int64_t>(pair.rows.size()));
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(pair.store.mutable_row(first + i), &next, sizeof(next));
    pair.rows.push_back(next++);
  }
}

void expect_same(const Pair& pair) {
  ASSERT_EQ(pair.store.end(), static_cast<int64_t>(pair.rows.size()));
  ASSERT_EQ(pair.store.begin(), pair.begin);
  for (int64_t i = pair.begin; i < pair.store.end(); ++i) {
    int64_t value = 0;
    std::memcpy(&value, pair.store.row(i), sizeof(value));
    ASSERT_EQ(value, pair.rows[static_cast<size_t>(i)]) << "row " << i;
  }
}

TEST(RowStore, BehavesLikeAPlainListUnderForksTruncationAndTrimming) {
  std::mt19937 random(7);
  int64_t next = 0;
  std::vector<Pair> family(1);
  for (int step = 0; step < 4000; ++step) {
    const size_t which = random() % family.size();
    Pair& pair = family[which];
    const auto size = static_cast<int64_t>(pair.rows.size());
    switch (random() % 6) {
      case 0:
      case 1:
      case 2:
        append(pair, static_cast<int64_t>(random() % 20), next);
        break;
      case 3: {
        const int64_t end = pair.begin + static_cast<int64_t>(random()) % (size - pair.begin + 1);
        pair.store.truncate(end);
        pair.rows.resize(static_cast<size_t>(end));
        break;
      }
      case 4: {
        pair.begin =
            std::max(pair.begin, std::min(size, pair.begin + static_cast<int64_t>(random() % 9)));
        pair.store.trim(pair.begin);
        break;
      }
      default:
        if (family.size() < 6) {
          const Pair copy = pair;
          family.push_back(copy);
        } else {
          family.erase(family.begin() + static_cast<std::ptrdiff_t>(which));
        }
    }
    for (const Pair& member : family) expect_same(member);
  }
}

TEST(RowStore, ForkSharesPagesUntilOneWrites) {
  RowStore store(kRowBytes, 8);
  store.append(20);
  const RowStore fork = store;
  EXPECT_EQ(fork.row(3), store.row(3));
  store.append(1);
  EXPECT_EQ(fork.row(3), store.row(3)) << "a full page stays shared";
  EXPECT_NE(fork.row(17), store.row(17)) << "the written page is a copy";
  EXPECT_EQ(store.size_bytes(), 3 * 8 * kRowBytes);
}

TEST(RowStore, SerializedFormRoundTripsAndRefusesDamage) {
  Pair pair;
  int64_t next = 5;
  append(pair, 50, next);
  pair.store.trim(17);
  std::vector<std::byte> bytes;
  pair.store.serialize(bytes);
  RowStore other(kRowBytes, 8);
  std::span<const std::byte> in = bytes;
  other.deserialize(in, 1000);
  EXPECT_TRUE(in.empty());
  EXPECT_EQ(other.begin(), 17);
  EXPECT_EQ(std::memcmp(other.row(33), pair.store.row(33), kRowBytes), 0);

  for (size_t cut = 0; cut < bytes.size(); cut += 7) {
    std::span<const std::byte> shorter = std::span(bytes).first(cut);
    EXPECT_THROW(RowStore(kRowBytes, 8).deserialize(shorter, 1000), IoError) << cut;
  }
  in = bytes;
  EXPECT_THROW(RowStore(kRowBytes, 8).deserialize(in, 40), IoError) << "more rows than possible";
  in = bytes;
  EXPECT_THROW(RowStore(kRowBytes + 4, 8).deserialize(in, 1000), IoError) << "another row size";
}

}  // namespace
}  // namespace lethe::ops
