#include "ops/profile.h"

namespace lethe::ops {

std::string_view part_name(Part part) {
  switch (part) {
    case Part::Projections:
      return "projections";
    case Part::SparseAttention:
      return "sparse attention";
    case Part::Indexer:
      return "indexer";
    case Part::Compressor:
      return "compressor";
    case Part::Mixing:
      return "mixing";
    case Part::Router:
      return "router";
    case Part::Experts:
      return "experts";
    case Part::Engram:
      return "engram";
    case Part::Head:
      return "head";
    case Part::Other:
      return "other";
  }
  return "";
}

void Profile::start() {
  costs_ = {};
  outer_.clear();
  current_ = Part::Other;
  since_ = Clock::now();
  running_ = true;
}

Profile::Costs Profile::stop() {
  charge();
  running_ = false;
  return costs_;
}

void Profile::charge() {
  const Clock::time_point now = Clock::now();
  costs_[static_cast<size_t>(current_)].seconds +=
      std::chrono::duration<double>(now - since_).count();
  since_ = now;
}

void Profile::enter(Part part) {
  charge();
  outer_.push_back(current_);
  current_ = part;
}

void Profile::leave() {
  charge();
  current_ = outer_.back();
  outer_.pop_back();
}

double ProfileScope::stored_bytes(const quant::Weight& weight) {
  return static_cast<double>(weight.rows) * static_cast<double>(weight.cols) *
         quant::bits_per_weight(weight) / 8;
}

}  // namespace lethe::ops
