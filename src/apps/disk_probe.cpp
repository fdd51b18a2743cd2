#include "apps/disk_probe.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include "base/direct_reader.h"
#include "model/slot_memory.h"

namespace lethe::apps {

namespace {

constexpr uint64_t kPieceBytes = uint64_t{4} << 20;
constexpr int64_t kInFlight = 16;

struct Place {
  int file = -1;
  uint64_t offset = 0;
  uint64_t size = 0;
};

/// All files in pieces, in random order.
std::vector<Place> shuffled_places(const std::vector<MappedFile>& files, DirectReader& reader) {
  std::vector<Place> places;
  for (const MappedFile& file : files) {
    const int number = reader.open(file.path());
    const uint64_t size = file.bytes().size();
    for (uint64_t at = 0; at < size; at += kPieceBytes) {
      places.push_back({number, at, std::min(kPieceBytes, size - at)});
    }
  }
  std::mt19937_64 random(std::random_device{}());
  std::shuffle(places.begin(), places.end(), random);
  return places;
}

}  // namespace

double probe_disk_gb_s(const std::vector<MappedFile>& files, double seconds) {
  using Clock = std::chrono::steady_clock;
  const model::SlotMemory buffers(kInFlight, static_cast<int64_t>(kPieceBytes));
  DirectReader reader{DirectReader::Options{}};  // ends before the buffers
  const std::vector<Place> places = shuffled_places(files, reader);
  std::vector<DirectReader::Ticket> tickets(kInFlight);
  const auto begin = Clock::now();
  const auto elapsed = [begin] {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  for (size_t i = 0; i < places.size() && elapsed() < seconds; ++i) {
    DirectReader::Ticket& ticket = tickets[i % tickets.size()];
    if (ticket != 0) reader.wait(ticket);
    const DirectReader::Range range{.file = places[i].file,
                                    .offset = places[i].offset,
                                    .into = buffers.slot(static_cast<int64_t>(i % tickets.size())),
                                    .needed = places[i].size};
    ticket = reader.begin({&range, 1});
  }
  for (const DirectReader::Ticket ticket : tickets) {
    if (ticket != 0) reader.wait(ticket);
  }
  return static_cast<double>(reader.stats().bytes_read) * 1e-9 / std::max(elapsed(), 1e-9);
}

}  // namespace lethe::apps
