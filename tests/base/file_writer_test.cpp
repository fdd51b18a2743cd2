#include "base/file_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "base/posix_io.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t entries(const fs::path& directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory), {}));
}

std::string io_error(const std::function<void()>& body) {
  try {
    body();
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

/// Runs `body` in a child process, so that limits and mounts do not outlive the test; its text goes
/// to the parent.
std::string in_child(const std::function<std::string()>& body) {
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body();
    const ssize_t n = ::write(pipe_ends[1], text.data(), text.size());
    ::_exit(n == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(pipe_ends[1]);
  std::string text;
  char piece[512];
  for (ssize_t n = 0; (n = ::read(pipe_ends[0], piece, sizeof piece)) > 0;) {
    text.append(piece, static_cast<size_t>(n));
  }
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return text;
}

TEST(FileWriter, CommitsTheBytesOfAllCalls) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("a");
  FileWriter writer(path);
  writer.write("head");
  writer.write_zeros(5000);
  const std::vector<std::byte> large(3 << 20, std::byte('x'));
  writer.write(large);
  writer.write("tail");
  EXPECT_EQ(writer.position(), 4U + 5000U + large.size() + 4U);
  EXPECT_FALSE(fs::exists(path));
  writer.commit();
  const std::string text = contents(path);
  ASSERT_EQ(text.size(), 4U + 5000U + large.size() + 4U);
  EXPECT_EQ(text.substr(0, 6), std::string("head\0\0", 6));
  EXPECT_EQ(text.substr(5003, 2), std::string("\0x", 2));
  EXPECT_EQ(text.substr(text.size() - 5), "xtail");
  EXPECT_EQ(entries(directory.path()), 1U);
}

TEST(FileWriter, AbandonedWriterLeavesTheOldFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("a");
  std::ofstream(path) << "old";
  {
    FileWriter writer(path);
    writer.write("new");
    FileWriter moved = std::move(writer);
    moved.write("er");
  }
  EXPECT_EQ(contents(path), "old");
  EXPECT_EQ(entries(directory.path()), 1U);
}

TEST(FileWriter, ReplacesTheTargetOfALinkNotTheLink) {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("real")) << "old";
  fs::create_symlink("real", directory.file("link"));
  FileWriter writer(directory.file("link"));
  writer.write("new");
  writer.commit();
  EXPECT_TRUE(fs::is_symlink(directory.file("link")));
  EXPECT_EQ(contents(directory.file("real")), "new");
}

TEST(FileWriter, RefusesPlacesThatCannotBeWritten) {
  const TemporaryDirectory directory;
  EXPECT_THAT(io_error([&] { FileWriter writer(directory.file("no/such")); }),
              HasSubstr("No such file"));
  EXPECT_THAT(io_error([&] { FileWriter writer(directory.path().string()); }),
              HasSubstr("is a directory"));
  EXPECT_THAT(io_error([] { FileWriter writer("/dev/full"); }), HasSubstr("not a regular file"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST(FileWriter, NamesADirectoryWithoutPermission) {
  const TemporaryDirectory directory;
  ::chmod(directory.path().c_str(), 0500);
  const std::string message = in_child([&]() -> std::string {
    // Root may write anywhere; the child becomes somebody else.
    if (::geteuid() == 0 && ::setuid(65534) != 0) return "skip";
    return io_error([&] { FileWriter writer(directory.file("a")); });
  });
  ::chmod(directory.path().c_str(), 0700);
  if (message == "skip") GTEST_SKIP() << "cannot drop privileges";
  EXPECT_THAT(message, HasSubstr("Permission denied"));
}

TEST(FileWriter, AFileSizeLimitIsAnErrorAndLeavesNothing) {
  const TemporaryDirectory directory;
  const std::string message = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {1 << 21, 1 << 21};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    return io_error([&] {
      FileWriter writer(directory.file("a"));
      for (int i = 0; i < 10; ++i) writer.write_zeros(700'000);
    });
  });
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_THAT(message, HasSubstr("after 2097152 bytes"));
  EXPECT_TRUE(fs::is_empty(directory.path()));
}

TEST(FileWriter, AFullDiskIsAnErrorAndLeavesNothing) {
  const TemporaryDirectory directory;
  const std::string report = in_child([&]() -> std::string {
    const bool mounted =
        (::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("lethe", directory.path().c_str(), "tmpfs", 0, "size=256k") == 0;
    if (!mounted) return "skip";
    std::string message = io_error([&] {
      FileWriter writer(directory.file("a"));
      writer.write_zeros(1 << 20);
      writer.commit();
    });
    return message + (fs::is_empty(directory.path()) ? " empty" : " left over");
  });
  if (report == "skip") GTEST_SKIP() << "no small file system can be mounted here";
  EXPECT_THAT(report, HasSubstr("No space left on device"));
  EXPECT_THAT(report, HasSubstr("after 262144 bytes"));
  EXPECT_THAT(report, HasSubstr(" empty"));
}

TEST(WriteAll, NamesTheReasonOfTheSystem) {
  const std::vector<std::byte> bytes(100);
  const int full = ::open("/dev/full", O_WRONLY);
  EXPECT_THAT(io_error([&] { internal::write_all(full, bytes, "out", 7); }),
              HasSubstr("out: writing failed after 7 bytes: No space left on device"));
  ::close(full);
  EXPECT_THAT(io_error([&] { internal::write_all(-1, bytes, "out", 0); }), HasSubstr("out: "));
}

}  // namespace
}  // namespace lethe
