#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "golden_paths.h"
#include "tensor/gguf.h"
#include "tensor/safetensors.h"

namespace {

/// Heap bytes in use and their peak. Opening a bad file must not allocate by a number in it.
std::atomic<int64_t> g_live{0};
std::atomic<int64_t> g_peak{0};

void* counted(void* block) {
  if (block == nullptr) throw std::bad_alloc();
  const int64_t live = g_live += static_cast<int64_t>(::malloc_usable_size(block));
  if (live > g_peak) g_peak = live;
  return block;
}

void release(void* block) noexcept {
  if (block != nullptr) g_live -= static_cast<int64_t>(::malloc_usable_size(block));
  std::free(block);
}

}  // namespace

void* operator new(size_t size) {
  return counted(std::malloc(size));
}
void* operator new[](size_t size) {
  return counted(std::malloc(size));
}
// simdjson asks without exceptions.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  void* block = std::malloc(size);
  return block == nullptr ? nullptr : counted(block);
}
void* operator new[](size_t size, const std::nothrow_t& tag) noexcept {
  return ::operator new(size, tag);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return counted(std::aligned_alloc(static_cast<size_t>(alignment), size));
}
void operator delete(void* block) noexcept {
  release(block);
}
void operator delete[](void* block) noexcept {
  release(block);
}
void operator delete(void* block, size_t) noexcept {
  release(block);
}
void operator delete[](void* block, size_t) noexcept {
  release(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
  release(block);
}
void operator delete(void* block, size_t, std::align_val_t) noexcept {
  release(block);
}

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxHeapBytes = 4 << 20;
constexpr std::chrono::milliseconds kMaxTime(500);

struct Case {
  std::string file;
  std::string expect;
  std::string why;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.file << " (" << c.why << ")";
}

std::vector<Case> read_cases() {
  std::ifstream in(testing::golden_dir() / "hostile" / "cases.json");
  std::vector<Case> cases;
  if (!in) return cases;
  for (const nlohmann::json& item : nlohmann::json::parse(in)) {
    cases.push_back({item.at("file"), item.at("expect"), item.value("why", "")});
  }
  return cases;
}

std::string test_name(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.file;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

/// Opens a file as the program does; returns the LoadError's text, "" if it was accepted.
std::string open_as_program(const fs::path& path) {
  try {
    if (path.extension() == ".gguf") {
      GgufFile::open(path.string());
    } else if (path.extension() == ".json") {
      SafetensorsFile::open_sharded(path.string());
    } else {
      SafetensorsFile::open(path.string());
    }
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

/// The same for one file by itself: parts of a split GGUF are not looked for.
std::string open_container(const fs::path& path) {
  if (path.extension() != ".gguf") return open_as_program(path);
  const MappedFile file = MappedFile::open(path.string());
  try {
    GgufFile::parse(file.bytes(), path.string());
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

class Hostile : public ::testing::TestWithParam<Case> {};

TEST_P(Hostile, VerdictWithinBounds) {
  const fs::path path = testing::golden_dir() / "hostile" / GetParam().file;
  ASSERT_TRUE(fs::exists(path)) << path;
  const int64_t before = g_live;
  g_peak = before;
  const auto start = std::chrono::steady_clock::now();
  const bool of_the_model = GetParam().expect == "reject-model";
  const std::string error = of_the_model ? open_container(path) : open_as_program(path);
  const auto elapsed = std::chrono::steady_clock::now() - start;
  const int64_t peak = g_peak - before;

  EXPECT_LT(peak, kMaxHeapBytes);
  EXPECT_LT(elapsed, kMaxTime);
  if (GetParam().expect == "reject") {
    EXPECT_NE(error, "");
    EXPECT_EQ(error.rfind(path.parent_path().string(), 0), 0U) << "names no file: " << error;
    EXPECT_LT(error.size(), 1000U) << error;
  } else {
    EXPECT_EQ(error, "");
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Hostile, ::testing::ValuesIn(read_cases()), test_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Hostile);

TEST(HostileSet, IsNotEmpty) {
  if (!fs::exists(testing::golden_dir() / "hostile")) GTEST_SKIP() << "no hostile set here";
  EXPECT_FALSE(read_cases().empty());
}

/// The bounds must be able to fail: the counter sees what a parser allocates.
TEST(HostileSet, CountsHeapBytes) {
  const int64_t before = g_live;
  g_peak = before;
  { std::vector<char> block(kMaxHeapBytes); }
  EXPECT_GE(g_peak - before, kMaxHeapBytes);
  EXPECT_EQ(g_live, before);
}

}  // namespace
}  // namespace lethe
