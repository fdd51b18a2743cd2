#include "mini/report.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace lethe::mini {

void Report::add(const std::string& exam, const Score& score, double seconds) {
  Json row = {
      {"exam", exam}, {"right", score.right}, {"asked", score.asked}, {"share", score.share()}};
  if (!score.first_fault.empty()) row["first_fault"] = score.first_fault;
  add(std::move(row),
      fmt::format("{:6.1f} %  {:4} of {:4}", 100 * score.share(), score.right, score.asked),
      seconds);
}

void Report::add(const std::string& exam, const TextLoss& loss, double seconds) {
  add({{"exam", exam}, {"nats_per_token", loss.nats}, {"tokens", loss.num_tokens}},
      fmt::format("{:8.4f} nats/token", loss.nats), seconds);
}

void Report::add(Json row, const std::string& figure, double seconds) {
  row["seconds"] = seconds;
  if (!as_json_) {
    fmt::print("{:<34} {:<24} {:7.1f} s\n", row["exam"].get<std::string>(), figure, seconds);
    if (row.contains("first_fault")) {
      fmt::print("    {}\n", row["first_fault"].get<std::string>().substr(0, 400));
    }
    std::fflush(stdout);
  }
  rows_.push_back(std::move(row));
}

void Report::finish() const {
  if (as_json_) fmt::print("{}\n", dump_json(Json{{"results", rows_}}));
}

}  // namespace lethe::mini
