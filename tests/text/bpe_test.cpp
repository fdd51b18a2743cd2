#include "text/bpe.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <string>

namespace lethe {
namespace {

using Ids = std::vector<int32_t>;

std::array<int32_t, 256> identity_bytes() {
  std::array<int32_t, 256> bytes = {};
  std::iota(bytes.begin(), bytes.end(), 0);
  return bytes;
}

/// Tokens are strings over "abc"; a merge of any two of them whose join is a token may stand at any
/// rank (`ordered`: as training would leave it).
MergeTable random_table(std::mt19937& random, bool ordered) {
  std::vector<std::string> texts(256);
  for (int c = 'a'; c <= 'c'; ++c)
    texts[static_cast<size_t>(c)] = std::string(1, static_cast<char>(c));
  std::vector<int32_t> ids = {'a', 'b', 'c'};
  std::vector<MergeTable::Merge> merges;
  for (int32_t id = 256; id < 256 + 40; ++id) {
    const int32_t left = ids[random() % ids.size()];
    const int32_t right = ids[random() % ids.size()];
    const std::string joined = texts[static_cast<size_t>(left)] + texts[static_cast<size_t>(right)];
    if (std::find(texts.begin(), texts.end(), joined) != texts.end()) {
      texts.emplace_back();  // an id that nothing makes
      continue;
    }
    merges.push_back({left, right, id});
    texts.push_back(joined);
    ids.push_back(id);
  }
  if (!ordered) std::shuffle(merges.begin(), merges.end(), random);
  return MergeTable(merges);
}

std::string random_word(std::mt19937& random, size_t size) {
  std::string word;
  while (word.size() < size) {
    word.append(1 + random() % 4, static_cast<char>('a' + random() % 3));
  }
  return word;
}

TEST(MergeTable, FindsPairsAndKeepsTheLastOfARepeatedOne) {
  const MergeTable table({{1, 2, 3}, {3, 1, 4}, {1, 2, 3}});
  EXPECT_EQ(table.rank(1, 2), 2u);
  EXPECT_EQ(table.rank(3, 1), 1u);
  EXPECT_EQ(table.result(1), 4);
  EXPECT_EQ(table.rank(2, 1), MergeTable::kNoRank);
  constexpr int32_t kTop = MergeTable::kMaxTokens - 1;
  EXPECT_EQ(table.rank(kTop, kTop), MergeTable::kNoRank);
  EXPECT_EQ(MergeTable().rank(0, 0), MergeTable::kNoRank);
}

TEST(MergeTable, KnowsWhetherEveryTokenIsMadeBeforeItIsUsed) {
  EXPECT_TRUE(MergeTable({{1, 2, 3}, {3, 1, 4}}).is_ordered());
  EXPECT_FALSE(MergeTable({{3, 1, 4}, {1, 2, 3}}).is_ordered());
  EXPECT_TRUE(MergeTable().is_ordered());
}

TEST(BpeMerger, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  const auto bytes = identity_bytes();
  const MergeTable table({{'b', 'c', 300}, {'a', 'b', 301}, {'a', 'a', 302}});
  BpeMerger merger(table, bytes);
  const auto encode = [&](std::string_view word) {
    Ids ids;
    merger.encode(word, ids);
    return ids;
  };
  EXPECT_EQ(encode(""), Ids{});
  EXPECT_EQ(encode("abc"), (Ids{'a', 300}));
  EXPECT_EQ(encode("aaa"), (Ids{302, 'a'}));
  EXPECT_EQ(encode("aab"), (Ids{'a', 301}));
}

TEST(BpeMerger, TheThreeWaysAgreeOnOrderedTables) {
  std::mt19937 random(7);
  const auto bytes = identity_bytes();
  for (int round = 0; round < 300; ++round) {
    const MergeTable table = random_table(random, true);
    ASSERT_TRUE(table.is_ordered());
    BpeMerger merger(table, bytes);
    for (const size_t size : {0, 1, 2, 5, 40, 200, 1000}) {
      const std::string word = random_word(random, size);
      Ids scan;
      Ids heap;
      Ids rank;
      merger.encode_by_scan(word, scan);
      merger.encode_by_heap(word, heap);
      merger.encode_by_rank(word, rank);
      ASSERT_EQ(scan, heap) << word;
      ASSERT_EQ(scan, rank) << word;
    }
  }
}

TEST(BpeMerger, TheHeapAgreesWithTheScanOnAnyTable) {
  std::mt19937 random(8);
  const auto bytes = identity_bytes();
  int unordered = 0;
  for (int round = 0; round < 300; ++round) {
    const MergeTable table = random_table(random, false);
    unordered += table.is_ordered() ? 0 : 1;
    BpeMerger merger(table, bytes);
    const std::string word = random_word(random, random() % 500);
    Ids scan;
    Ids chosen;
    merger.encode_by_scan(word, scan);
    merger.encode(word, chosen);
    ASSERT_EQ(scan, chosen) << word;
  }
  EXPECT_GT(unordered, 200);
}

TEST(BpeMerger, IsReadyForTheNextWordAfterAVeryLongOne) {
  const auto bytes = identity_bytes();
  const MergeTable table({{'a', 'a', 300}, {300, 300, 301}});
  BpeMerger merger(table, bytes);
  for (const size_t size : {300'001, 100, 99, 500'000}) {
    Ids ids;
    merger.encode(std::string(size, 'a'), ids);
    EXPECT_EQ(ids.size(), size / 4 + (size % 4 >= 2 ? 1 : 0) + size % 2);
    EXPECT_EQ(ids.front(), 301);
  }
}

}  // namespace
}  // namespace lethe
