#include "base/memory_advice.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "base/mapped_file.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

TEST(MemoryAdvice, ChangesNothingThatIsRead) {
  const testing::TemporaryDirectory directory;
  std::string content(100'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  std::ofstream(directory.file("data"), std::ios::binary) << content;
  const MappedFile file = MappedFile::open(directory.file("data"));
  advise_random_access(file.bytes());
  prefetch_pages(file.bytes().subspan(4097, 33));  // inside a page
  prefetch_pages(file.bytes().subspan(8191, 2));   // across a page boundary
  prefetch_pages(file.bytes().last(1));
  prefetch_pages({});
  advise_huge_pages(file.bytes());
  advise_huge_pages({});
  EXPECT_EQ(std::memcmp(file.bytes().data(), content.data(), content.size()), 0);
}

}  // namespace
}  // namespace lethe
