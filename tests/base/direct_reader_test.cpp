#include "base/direct_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "base/error.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;
using Backend = DirectReader::Backend;

constexpr size_t kBlock = DirectReader::kBlock;

/// Memory that begins on a block.
class Buffer {
 public:
  explicit Buffer(size_t size) : bytes_(std::aligned_alloc(kBlock, size)), size_(size) {
    std::memset(bytes_, 0xee, size);
  }
  ~Buffer() { std::free(bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::span<std::byte> span() const { return {static_cast<std::byte*>(bytes_), size_}; }

 private:
  void* bytes_;
  size_t size_;
};

std::string random_text(size_t size) {
  std::mt19937 random(7);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::string write_file(const TemporaryDirectory& directory, const std::string& text) {
  const std::string path = directory.file("file");
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

bool holds(std::span<const std::byte> bytes, const std::string& text, size_t at, size_t size) {
  return std::memcmp(bytes.data(), text.data() + at, size) == 0;
}

std::string wait_error(DirectReader& reader, DirectReader::Ticket ticket) {
  try {
    reader.wait(ticket);
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

struct Way {
  Backend backend;
  bool direct;
  int queue_depth;
};

class DirectReaderWays : public ::testing::TestWithParam<Way> {
 protected:
  std::unique_ptr<DirectReader> make(size_t piece_bytes = 4 * kBlock) const {
    try {
      return std::make_unique<DirectReader>(
          DirectReader::Options{.backend = GetParam().backend,
                                .piece_bytes = piece_bytes,
                                .queue_depth = GetParam().queue_depth,
                                .num_threads = 3,
                                .direct = GetParam().direct});
    } catch (const Error&) {
      return nullptr;  // no io_uring here
    }
  }
  TemporaryDirectory directory_;
};

#define MAKE_OR_SKIP(reader, ...)        \
  const auto reader = make(__VA_ARGS__); \
  if (reader == nullptr) GTEST_SKIP() << "no io_uring here"

TEST_P(DirectReaderWays, ReadsWhatTheFileHolds) {
  MAKE_OR_SKIP(reader);
  const std::string text = random_text(40 * kBlock + 1234);  // the last block is not whole
  const int file = reader->open(write_file(directory_, text));
  EXPECT_EQ(reader->open(directory_.file("file")), file);
  const Buffer all(41 * kBlock);
  const Buffer some(3 * kBlock);
  const DirectReader::Range whole{file, 0, all.span(), text.size()};
  const DirectReader::Range inside{file, 7 * kBlock, some.span(), 3 * kBlock};
  const DirectReader::Ticket first = reader->begin({&whole, 1});
  const DirectReader::Ticket second = reader->begin({&inside, 1});
  reader->wait(second);
  while (!reader->is_done(first)) ::usleep(100);
  reader->wait(first);
  EXPECT_TRUE(holds(all.span(), text, 0, text.size()));
  EXPECT_TRUE(holds(some.span(), text, 7 * kBlock, 3 * kBlock));
  EXPECT_EQ(reader->stats().bytes_read, text.size() + 3 * kBlock);
  EXPECT_GT(reader->stats().busy_s, 0);
}

TEST_P(DirectReaderWays, ManyTicketsEndInAnyOrder) {
  MAKE_OR_SKIP(reader, kBlock);
  const std::string text = random_text(64 * kBlock);
  const int file = reader->open(write_file(directory_, text));
  const Buffer buffer(64 * kBlock);
  std::vector<DirectReader::Ticket> tickets;
  for (size_t i = 0; i < 32; ++i) {
    const std::array ranges{
        DirectReader::Range{file, i * kBlock, buffer.span().subspan(i * kBlock, kBlock), kBlock},
        DirectReader::Range{file, (63 - i) * kBlock,
                            buffer.span().subspan((63 - i) * kBlock, kBlock), kBlock}};
    tickets.push_back(reader->begin(ranges));
  }
  std::shuffle(tickets.begin(), tickets.end(), std::mt19937(3));
  for (const DirectReader::Ticket ticket : tickets) reader->wait(ticket);
  EXPECT_TRUE(holds(buffer.span(), text, 0, text.size()));
}

TEST_P(DirectReaderWays, AnEmptyTicketIsDone) {
  MAKE_OR_SKIP(reader);
  const DirectReader::Ticket ticket = reader->begin({});
  EXPECT_TRUE(reader->is_done(ticket));
  reader->wait(ticket);
}

TEST_P(DirectReaderWays, SaysThatAFileWasCutShort) {
  MAKE_OR_SKIP(reader);
  const std::string path = write_file(directory_, random_text(20 * kBlock));
  const int file = reader->open(path);
  const Buffer buffer(10 * kBlock);
  const DirectReader::Range range{file, 10 * kBlock, buffer.span(), 10 * kBlock};
  for (const size_t size : {15 * kBlock + 7, 12 * kBlock, size_t{0}}) {
    std::filesystem::resize_file(path, size);
    const std::string error = wait_error(*reader, reader->begin({&range, 1}));
    EXPECT_THAT(error, HasSubstr(path)) << size;
    EXPECT_THAT(error, HasSubstr("truncated")) << size;
  }
  EXPECT_EQ(wait_error(*reader, reader->begin({})), "");
}

TEST_P(DirectReaderWays, EndsWithReadsInFlight) {
  const Buffer buffer(200 * kBlock);  // outlives the reader
  MAKE_OR_SKIP(reader, kBlock);
  const int file = reader->open(write_file(directory_, random_text(200 * kBlock)));
  const DirectReader::Range range{file, 0, buffer.span(), 200 * kBlock};
  reader->begin({&range, 1});
}

INSTANTIATE_TEST_SUITE_P(Ways, DirectReaderWays,
                         ::testing::Values(Way{Backend::io_uring, true, 64},
                                           Way{Backend::io_uring, false, 4},
                                           Way{Backend::threads, true, 64},
                                           Way{Backend::threads, false, 2},
                                           Way{Backend::best, true, 8}));

TEST(DirectReader, OpensOnlyWhatThereIs) {
  DirectReader reader(DirectReader::Options{});
  EXPECT_THROW(reader.open("/nowhere/at/all"), LoadError);
}

/// Reads at once, and lets a function change what came of it.
class FaultyBackend : public internal::ReadBackend {
 public:
  using Fault = std::function<int64_t(const internal::ReadRequest&, int64_t result)>;
  explicit FaultyBackend(Fault fault) : fault_(std::move(fault)) {}
  std::string_view name() const noexcept override { return "faulty"; }
  int capacity() const noexcept override { return 3; }
  void start(const internal::ReadRequest& request) override {
    const ssize_t n =
        ::pread(request.fd, request.into, request.size, static_cast<off_t>(request.offset));
    ended_.push_front({request.id, fault_(request, n)});
  }
  void collect(std::vector<internal::ReadResult>& results, bool) override {
    if (ended_.empty()) return;
    results.push_back(ended_.front());
    ended_.pop_front();
  }

 private:
  Fault fault_;
  std::deque<internal::ReadResult> ended_;
};

struct Outcome {
  bool right = false;
  std::string error;
  bool direct = false;
};

Outcome read_with(const FaultyBackend::Fault& fault) {
  const TemporaryDirectory directory;
  const std::string text = random_text(30 * kBlock + 99);
  const std::string path = write_file(directory, text);
  const Buffer buffer(31 * kBlock);
  DirectReader reader({.piece_bytes = 5 * kBlock}, std::make_unique<FaultyBackend>(fault));
  const DirectReader::Range range{reader.open(path), 0, buffer.span(), text.size()};
  const DirectReader::Ticket ticket = reader.begin({&range, 1});
  Outcome outcome;
  outcome.error = wait_error(reader, ticket);
  outcome.right = holds(buffer.span(), text, 0, text.size());
  outcome.direct = reader.is_direct();
  return outcome;
}

TEST(DirectReaderFaults, ShortReadsGoOn) {
  std::mt19937 random(1);
  const Outcome outcome = read_with([&](const internal::ReadRequest&, int64_t n) {
    const int64_t blocks = n / static_cast<int64_t>(kBlock);
    if (blocks < 2) return n;
    // One block at least, and sometimes a piece of the next, which must be read again.
    return static_cast<int64_t>(kBlock) + static_cast<int64_t>(random() % (2 * kBlock));
  });
  EXPECT_EQ(outcome.error, "");
  EXPECT_TRUE(outcome.right);
}

TEST(DirectReaderFaults, InterruptedReadsAreTriedAgain) {
  int count = 0;
  const Outcome outcome = read_with([&](const internal::ReadRequest&, int64_t n) -> int64_t {
    ++count;
    return count % 3 == 0 ? -EINTR : count % 3 == 1 ? -EAGAIN : n;
  });
  EXPECT_EQ(outcome.error, "");
  EXPECT_TRUE(outcome.right);
}

TEST(DirectReaderFaults, ADiskFaultNamesTheFileAndThePlace) {
  const Outcome outcome =
      read_with([&](const internal::ReadRequest& request, int64_t n) -> int64_t {
        return request.offset == 10 * kBlock ? -EIO : n;
      });
  EXPECT_THAT(outcome.error, HasSubstr("/file"));
  EXPECT_THAT(outcome.error, HasSubstr("offset 40960"));
  EXPECT_THAT(outcome.error, HasSubstr("disk reports a fault"));
}

TEST(DirectReaderFaults, AFileSystemWithoutDirectReadsIsReadThroughTheCache) {
  int refused = 0;
  const Outcome outcome = read_with([&](const internal::ReadRequest&, int64_t n) -> int64_t {
    return ++refused <= 3 ? -EINVAL : n;  // all that were in flight
  });
  EXPECT_EQ(outcome.error, "");
  EXPECT_TRUE(outcome.right);
  EXPECT_FALSE(outcome.direct);
}

}  // namespace
}  // namespace lethe
