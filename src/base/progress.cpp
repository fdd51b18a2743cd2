#include "base/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace lethe {

namespace {

using Clock = Progress::Clock;
constexpr std::chrono::milliseconds kSilence(500);
constexpr std::chrono::milliseconds kRefresh(100);
constexpr int64_t kBarCells = 20;

/// "[#####...............] "; empty where the whole is unknown.
std::string bar(int64_t done, int64_t total) {
  if (total <= 0) return "";
  const double share =
      static_cast<double>(std::clamp<int64_t>(done, 0, total)) / static_cast<double>(total);
  const auto full = static_cast<int64_t>(share * static_cast<double>(kBarCells));
  return fmt::format("[{:#<{}}{:.<{}}] ", "", full, "", kBarCells - full);
}

}  // namespace

struct Progress::Impl {
  std::string title;
  int64_t total = 0;
  std::string unit;
  bool terminal = false;
  bool line_open = false;
  int64_t done = 0;
  int64_t reported_tenths = 0;
  Clock::time_point start;
  Clock::time_point drawn;

  std::string amount(int64_t value) const;
  std::string line() const;
  void draw();
};

std::string Progress::Impl::amount(int64_t value) const {
  if (unit != "bytes") return fmt::format("{}", value);
  return fmt::format("{:.1f}", static_cast<double>(value) / 1e6);
}

std::string Progress::Impl::line() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double scale = unit == "bytes" ? 1e-6 : 1.0;
  const double rate = seconds > 0 ? static_cast<double>(done) * scale / seconds : 0.0;
  const char* shown_unit = unit == "bytes" ? "MB" : unit.c_str();
  const std::string speed = fmt::format("{:.1f} {}/s", rate, shown_unit);
  if (total <= 0) return fmt::format("{}: {} {}, {}", title, amount(done), shown_unit, speed);
  const double percent = 100.0 * static_cast<double>(done) / static_cast<double>(total);
  return fmt::format("{}: {:3.0f} %, {} of {} {}, {}", title, percent, amount(done), amount(total),
                     shown_unit, speed);
}

void Progress::Impl::draw() {
  const Clock::time_point now = Clock::now();
  if (now - start < kSilence) return;
  if (terminal) {
    if (now - drawn < kRefresh && done < total) return;
    drawn = now;
    fmt::print(stderr, "\r\x1b[K{}{}", bar(done, total), line());
    std::fflush(stderr);
    line_open = true;
    return;
  }
  if (total <= 0) return;
  const double share = static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  const auto reached = static_cast<int64_t>(10.0 * share);
  if (reached <= reported_tenths) return;
  reported_tenths = reached;
  fmt::print(stderr, "{}\n", line());
}

Progress::Progress(std::string title, int64_t total, std::string unit, Clock::time_point start)
    : impl_(std::make_unique<Impl>()) {
  impl_->title = std::move(title);
  impl_->total = total;
  impl_->unit = std::move(unit);
  impl_->start = start;
  impl_->drawn = start - kRefresh;
  impl_->terminal = ::isatty(STDERR_FILENO) == 1;
}

Progress::~Progress() {
  if (impl_->line_open) std::fputc('\n', stderr);
}

void Progress::erase() {
  if (!impl_->line_open) return;
  impl_->line_open = false;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

void Progress::advance(int64_t by) {
  impl_->done += by;
  impl_->draw();
}

}  // namespace lethe
