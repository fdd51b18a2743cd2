#include "base/mapped_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "base/error.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string open_error(const std::string& path) {
  try {
    MappedFile::open(path);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

/// Reads one byte in a way the compiler keeps.
std::byte touch(const std::byte* address) {
  return *static_cast<const volatile std::byte*>(address);
}

TEST(MappedFile, ShowsTheBytes) {
  const TemporaryDirectory directory;
  write_file(directory.file("a"), "abc");
  const MappedFile file = MappedFile::open(directory.file("a"));
  ASSERT_EQ(file.bytes().size(), 3U);
  EXPECT_EQ(file.bytes()[2], std::byte('c'));
  EXPECT_EQ(file.path(), directory.file("a"));
  const MappedFile copy = file;
  EXPECT_EQ(copy.bytes().data(), file.bytes().data());
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  const TemporaryDirectory directory;
  write_file(directory.file("a"), "");
  const MappedFile file = MappedFile::open(directory.file("a"));
  EXPECT_TRUE(file.bytes().empty());
  file.check_unchanged();
}

TEST(MappedFile, ReadsPastTheMapping) {
  const TemporaryDirectory directory;
  write_file(directory.file("a"), "abcdef");
  const MappedFile file = MappedFile::open(directory.file("a"));
  std::string into(3, ' ');
  file.read(2, std::as_writable_bytes(std::span(into)));
  EXPECT_EQ(into, "cde");
  EXPECT_THROW(file.read(4, std::as_writable_bytes(std::span(into))), IoError);
  file.drop_cached(0, 6);
  EXPECT_EQ(file.bytes()[5], std::byte('f'));
}

TEST(MappedFile, OpensOnlyRegularFiles) {
  const TemporaryDirectory directory;
  EXPECT_THAT(open_error(directory.file("none")), HasSubstr("No such file"));
  EXPECT_THAT(open_error(directory.path().string()), HasSubstr("is a directory"));
  EXPECT_THAT(open_error("/dev/zero"), HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo(directory.file("fifo").c_str(), 0600), 0);
  EXPECT_THAT(open_error(directory.file("fifo")), HasSubstr("not a regular file"));
}

TEST(MappedFile, NoticesAChangedFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("a");
  write_file(path, "abc");
  const MappedFile file = MappedFile::open(path);
  file.check_unchanged();
  std::ofstream(path, std::ios::app) << "d";
  EXPECT_THROW(file.check_unchanged(), IoError);

  const MappedFile again = MappedFile::open(path);
  again.check_unchanged();
  const timespec times[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_THROW(again.check_unchanged(), IoError);
}

TEST(MappedFile, AReplacedNameDoesNotChangeTheOpenFile) {
  const TemporaryDirectory directory;
  write_file(directory.file("a"), "abc");
  write_file(directory.file("b"), "xyzxyz");
  const MappedFile file = MappedFile::open(directory.file("a"));
  std::filesystem::rename(directory.file("b"), directory.file("a"));
  file.check_unchanged();
  EXPECT_EQ(file.bytes()[0], std::byte('a'));
}

class MappedFileSigbus : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
  TemporaryDirectory directory_;
};

TEST_F(MappedFileSigbus, TruncationEndsTheProcessWithAParagraph) {
  const std::string path = directory_.file("model.gguf");
  write_file(path, std::string(20000, 'x'));
  const auto read_truncated = [&] {
    const MappedFile other = MappedFile::open("/proc/self/exe");
    const MappedFile file = MappedFile::open(path);
    if (::truncate(path.c_str(), 10) != 0) ::_exit(3);
    touch(file.bytes().data() + 19000);
    ::_exit(4);
  };
  EXPECT_EXIT(read_truncated(), ::testing::ExitedWithCode(1),
              "model.gguf: the file can no longer be read: it was truncated.*20000 bytes");
}

TEST_F(MappedFileSigbus, TruncationByAnotherProcessEndsTheReader) {
  const std::string path = directory_.file("shard.safetensors");
  write_file(path, std::string(20000, 'x'));
  int report[2];
  int go[2];
  ASSERT_TRUE(::pipe(report) == 0 && ::pipe(go) == 0);
  const pid_t reader = ::fork();
  if (reader == 0) {
    ::dup2(report[1], STDERR_FILENO);
    const MappedFile file = MappedFile::open(path);
    char ready = static_cast<char>(touch(file.bytes().data() + 19000));
    if (::write(report[1], &ready, 1) != 1 || ::read(go[0], &ready, 1) != 1) ::_exit(3);
    touch(file.bytes().data() + 19000);
    ::_exit(4);
  }
  ::close(report[1]);
  char byte = 0;
  ASSERT_EQ(::read(report[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  ASSERT_EQ(::write(go[1], &byte, 1), 1);
  std::string text;
  while (::read(report[0], &byte, 1) == 1) text.push_back(byte);
  int status = 0;
  ASSERT_EQ(::waitpid(reader, &status, 0), reader);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(text, HasSubstr(path + ": the file can no longer be read"));
  EXPECT_EQ(text.back(), '\n');
  for (const int end : {report[0], go[0], go[1]}) ::close(end);
}

TEST_F(MappedFileSigbus, AForeignFaultKeepsItsHandling) {
  const std::string path = directory_.file("a");
  const std::string foreign = directory_.file("foreign");
  write_file(path, "abc");
  const auto fault_elsewhere = [&](bool with_handler) {
    if (with_handler) ::signal(SIGBUS, [](int) { ::_exit(42); });
    const MappedFile file = MappedFile::open(path);
    write_file(foreign, std::string(10000, 'x'));
    std::optional<MappedFile> closed = MappedFile::open(foreign);
    const int fd = ::open(foreign.c_str(), O_RDWR);
    void* map = ::mmap(nullptr, 10000, PROT_READ, MAP_PRIVATE, fd, 0);
    closed.reset();
    if (map == MAP_FAILED || ::ftruncate(fd, 0) != 0) ::_exit(3);
    touch(static_cast<const std::byte*>(map) + 9000);
    ::_exit(4);
  };
  EXPECT_EXIT(fault_elsewhere(true), ::testing::ExitedWithCode(42), "");
#if !defined(__SANITIZE_ADDRESS__)  // which catches the signal itself
  EXPECT_EXIT(fault_elsewhere(false), ::testing::KilledBySignal(SIGBUS), "");
#endif
}

TEST_F(MappedFileSigbus, ASentSignalKeepsItsHandling) {
  write_file(directory_.file("a"), "abc");
  const auto send = [&] {
    ::signal(SIGBUS, [](int) { ::_exit(42); });
    const MappedFile file = MappedFile::open(directory_.file("a"));
    ::raise(SIGBUS);
    ::_exit(4);
  };
  EXPECT_EXIT(send(), ::testing::ExitedWithCode(42), "");
}

TEST(MappedFile, TheFormerHandlerReturnsWithTheLastFile) {
  const TemporaryDirectory directory;
  write_file(directory.file("a"), "abc");
  struct sigaction before = {};
  struct sigaction during = {};
  struct sigaction after = {};
  ::sigaction(SIGBUS, nullptr, &before);
  {
    const MappedFile file = MappedFile::open(directory.file("a"));
    ::sigaction(SIGBUS, nullptr, &during);
  }
  ::sigaction(SIGBUS, nullptr, &after);
  EXPECT_NE(during.sa_sigaction, before.sa_sigaction);
  EXPECT_EQ(after.sa_sigaction, before.sa_sigaction);
}

}  // namespace
}  // namespace lethe
