#include "model/expert_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "base/error.h"
#include "base/mapped_file.h"
#include "temporary_directory.h"

namespace lethe::model {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;

constexpr int64_t kTensorBytes = 1000;  // nothing is aligned, as in files

/// A file of random bytes with experts of six tensors each, one after another; those of w2 lie in a
/// second file, in the opposite order.
class ExpertFiles {
 public:
  explicit ExpertFiles(int64_t count) : count_(count) {
    write("a", 4 * count);
    write("b", 2 * count);
  }
  StoredExpert expert(int64_t e) const {
    StoredExpert stored;
    int64_t next[2] = {4 * e, 2 * (count_ - 1 - e)};
    ops::Linear* const linears[] = {&stored.weights.w1, &stored.weights.w3, &stored.weights.w2};
    for (size_t i = 0; i < 3; ++i) {
      const size_t file = i == 2 ? 1 : 0;
      quant::Weight& weight = linears[i]->weight;
      weight.rows = e;  // to be told apart
      weight.data = add_part(stored, file, next[file]++);
      weight.scales = add_part(stored, file, next[file]++) + 10;  // within its part
    }
    return stored;
  }
  std::vector<StoredExpert> experts(int64_t begin, int64_t end) const {
    std::vector<StoredExpert> list;
    for (int64_t e = begin; e < end; ++e) list.push_back(expert(e));
    return list;
  }
  std::string path(size_t file) const { return files_[file].path(); }

 private:
  void write(const std::string& name, int64_t tensors) {
    std::mt19937 random(static_cast<unsigned>(tensors));
    std::string text(static_cast<size_t>(kOffset + tensors * kTensorBytes), '\0');
    for (char& c : text) c = static_cast<char>(random());
    std::ofstream(directory_.file(name), std::ios::binary) << text;
    files_.push_back(MappedFile::open(directory_.file(name)));
  }
  const std::byte* add_part(StoredExpert& stored, size_t file, int64_t index) const {
    const int64_t at = kOffset + index * kTensorBytes;
    const auto bytes = files_[file].bytes().subspan(static_cast<size_t>(at), kTensorBytes);
    stored.parts.push_back({bytes, files_[file].path(), static_cast<uint64_t>(at)});
    return bytes.data();
  }

  static constexpr int64_t kOffset = 77;
  TemporaryDirectory directory_;
  int64_t count_;
  std::vector<MappedFile> files_;
};

bool same_weight(const quant::Weight& a, const quant::Weight& b) {
  return a.data != b.data && a.rows == b.rows && std::memcmp(a.data, b.data, kTensorBytes) == 0 &&
         std::memcmp(a.scales, b.scales, kTensorBytes - 10) == 0;
}

/// Runs the waves of one pass and checks that each expert comes once, in order, with its bytes.
/// Returns the number of waves.
int check_pass(ExpertCache& cache, const ExpertFiles& files, int group, int64_t first_expert,
               const std::vector<int32_t>& experts) {
  ExpertWaves waves(cache, group, experts);
  std::vector<int32_t> seen;
  int count = 0;
  for (auto wave = waves.next(); !wave.empty(); wave = waves.next()) {
    const size_t before = seen.size();
    for (size_t e = 0; e < wave.size(); ++e) {
      if (!wave[e].w1.weight.present()) continue;
      seen.push_back(static_cast<int32_t>(e));
      const StoredExpert stored = files.expert(first_expert + static_cast<int64_t>(e));
      EXPECT_TRUE(same_weight(wave[e].w1.weight, stored.weights.w1.weight)) << e;
      EXPECT_TRUE(same_weight(wave[e].w3.weight, stored.weights.w3.weight)) << e;
      EXPECT_TRUE(same_weight(wave[e].w2.weight, stored.weights.w2.weight)) << e;
    }
    EXPECT_GT(seen.size(), before);
    ++count;
  }
  EXPECT_EQ(seen, experts);
  return count;
}

std::vector<int32_t> experts_of_bits(unsigned bits) {
  std::vector<int32_t> experts;
  for (int32_t e = 0; e < 32; ++e) {
    if ((bits >> e & 1) != 0) experts.push_back(e);
  }
  return experts;
}

int64_t slot_bytes_of(const ExpertFiles& files, int64_t count) {
  ExpertCache cache({.bytes = int64_t{1} << 30});
  cache.add_group(files.experts(0, count), 1);
  cache.make_slots();
  return cache.stats().slot_bytes;
}

// All subsets of five experts, one after the other in random orders, with every number of slots.
TEST(ExpertCache, EveryPassSeesItsExpertsInOrder) {
  constexpr int64_t kExperts = 5;
  const ExpertFiles files(kExperts);
  const int64_t slot_bytes = slot_bytes_of(files, kExperts);
  std::mt19937 random(2);
  for (int64_t slots = 2; slots <= kExperts; ++slots) {
    for (const double hot_share : {0.0, 0.9}) {
      ExpertCache cache({.bytes = slots * slot_bytes, .hot_share = hot_share});
      const int group = cache.add_group(files.experts(0, kExperts), 1);
      cache.make_slots();
      ASSERT_EQ(cache.stats().slots, slots);
      for (int pass = 0; pass < 150; ++pass) {
        const std::vector<int32_t> experts = experts_of_bits(random() % 32);
        if (random() % 4 == 0) cache.prefetch(group, experts_of_bits(random() % 32));
        check_pass(cache, files, group, 0, experts);
      }
      const ExpertCache::Stats stats = cache.stats();
      EXPECT_GT(stats.hits, 0);
      EXPECT_GT(stats.misses + stats.prefetched, slots - 1);
      if (slots == kExperts) {
        EXPECT_EQ(stats.misses + stats.prefetched, kExperts);
      }
    }
  }
}

TEST(ExpertCache, GroupsShareTheSlots) {
  const ExpertFiles files(30);
  const int64_t slot_bytes = slot_bytes_of(files, 30);
  for (const auto backend : {DirectReader::Backend::best, DirectReader::Backend::threads}) {
    ExpertCache cache({.bytes = 7 * slot_bytes, .reader = {.backend = backend}});
    std::vector<int> groups;
    for (int64_t g = 0; g < 3; ++g) {
      groups.push_back(cache.add_group(files.experts(10 * g, 10 * g + 10), 2));
    }
    cache.make_slots();
    std::mt19937 random(4);
    for (int pass = 0; pass < 300; ++pass) {
      const size_t g = random() % 3;
      check_pass(cache, files, groups[g], static_cast<int64_t>(10 * g),
                 experts_of_bits(random() % 1024));
    }
    EXPECT_EQ(cache.stats().slots, 7);
    EXPECT_EQ(cache.stats().experts, 30);
  }
}

TEST(ExpertCache, WhatIsThereIsNotReadAgain) {
  const ExpertFiles files(6);
  ExpertCache cache({.bytes = int64_t{1} << 30});
  const int group = cache.add_group(files.experts(0, 6), 2);
  cache.make_slots();
  EXPECT_EQ(cache.stats().slots, 6) << "no more than there are experts";
  check_pass(cache, files, group, 0, {0, 1, 2, 3, 4, 5});
  const ExpertCache::Stats first = cache.stats();
  EXPECT_EQ(first.misses, 6);
  EXPECT_GT(first.bytes_read, 6 * 6 * kTensorBytes);
  EXPECT_EQ(check_pass(cache, files, group, 0, {0, 1, 2, 3, 4, 5}), 1) << "all in one wave";
  const ExpertCache::Stats second = cache.stats().since(first);
  EXPECT_EQ(second.hits, 6);
  EXPECT_EQ(second.misses, 0);
  EXPECT_EQ(second.bytes_read, 0);
  EXPECT_EQ(second.in_memory_share(), 1.0);
}

TEST(ExpertCache, PrefetchedExpertsAreHits) {
  const ExpertFiles files(16);
  ExpertCache cache({.bytes = int64_t{1} << 30});
  const int group = cache.add_group(files.experts(0, 16), 2);
  cache.make_slots();
  const std::vector<int32_t> early = {3, 5};
  cache.prefetch(group, early);
  check_pass(cache, files, group, 0, {3, 4, 5});
  EXPECT_EQ(cache.stats().prefetched, 2);
  EXPECT_EQ(cache.stats().hits, 2);
  EXPECT_EQ(cache.stats().misses, 1);
}

TEST(ExpertCache, SaysHowMuchIsEnough) {
  const ExpertFiles files(12);
  ExpertCache cache({.bytes = 20'000});
  cache.add_group(files.experts(0, 12), 3);
  try {
    cache.make_slots();
    FAIL() << "a cache of one expert";
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("6 experts"));
    EXPECT_THAT(error.what(), HasSubstr("--expert-cache"));
  }
}

// A fault ends the pass that meets it; the next one asks the disk again.
TEST(ExpertCache, GoesOnAfterAFault) {
  const ExpertFiles files(8);
  const std::string path = files.path(1);
  const int64_t slot_bytes = slot_bytes_of(files, 8);
  ExpertCache cache({.bytes = 4 * slot_bytes});
  const int group = cache.add_group(files.experts(0, 8), 2);
  cache.make_slots();
  check_pass(cache, files, group, 0, {0, 7});
  const std::string whole = [&] {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  std::filesystem::resize_file(path, 5000);
  for (int i = 0; i < 20; ++i) {
    cache.prefetch(group, std::vector<int32_t>{1});  // its failing is not told
    ExpertWaves waves(cache, group, std::vector<int32_t>{0, 1, 2});
    EXPECT_THROW(
        {
          while (!waves.next().empty()) {
          }
        },
        IoError);
  }
  std::ofstream(path, std::ios::binary) << whole;
  check_pass(cache, files, group, 0, {0, 1, 2, 3, 4, 5, 6, 7});
}

TEST(ExpertCache, APassMayEndEarly) {
  const ExpertFiles files(8);
  const int64_t slot_bytes = slot_bytes_of(files, 8);
  ExpertCache cache({.bytes = 4 * slot_bytes});
  const int group = cache.add_group(files.experts(0, 8), 2);
  cache.make_slots();
  for (int i = 0; i < 50; ++i) {
    ExpertWaves waves(cache, group, experts_of_bits(0xff));
    for (int wave = 0; wave < i % 4; ++wave) EXPECT_FALSE(waves.next().empty());
  }
  check_pass(cache, files, group, 0, {0, 1, 2, 3, 4, 5, 6, 7});
}

}  // namespace
}  // namespace lethe::model
