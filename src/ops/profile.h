#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "ops/device.h"
#include "ops/linear.h"

namespace lethe::ops {

/// The parts of a forward pass that are told apart when it is measured.
enum class Part : uint8_t {
  Projections,      ///< attention's matrices: queries, keys, outputs
  SparseAttention,  ///< scores, softmax and values over window and compressed entries
  Indexer,          ///< its matrices, the scores of the index keys and the choice of the best
  Compressor,       ///< of entries and of index keys
  Mixing,           ///< hyper-connections, norms, rope
  Router,
  Experts,  ///< routed and shared: they are computed together
  Engram,
  Head,
  Other,  ///< embedding, copies, and whatever is not named above
};
inline constexpr int kNumParts = static_cast<int>(Part::Other) + 1;
std::string_view part_name(Part part);

/// Where the time of forward passes goes. Hand it to the Device that a model is loaded with; it
/// costs a comparison per operation until it is started. Times are of the thread that calls the
/// operations (the team works within them) and exclude those of a part begun inside another.
class Profile {
 public:
  struct Cost {
    double seconds = 0;
    double bytes = 0;  ///< weights and cache rows that were read, each once per operation
  };
  using Costs = std::array<Cost, kNumParts>;

  /// Forgets what was measured; time counts as Part::Other until a part begins.
  void start();
  /// Stops and returns what was measured since start().
  Costs stop();
  bool running() const noexcept { return running_; }

  // For ProfileScope.
  void enter(Part part);
  void leave();
  void add_bytes(double bytes) { costs_[static_cast<size_t>(current_)].bytes += bytes; }

 private:
  using Clock = std::chrono::steady_clock;
  void charge();

  bool running_ = false;
  Part current_ = Part::Other;
  std::vector<Part> outer_;
  Clock::time_point since_;
  Costs costs_{};
};

/// The rest of the enclosing block belongs to a part. Only in the thread that calls operations.
class ProfileScope {
 public:
  ProfileScope(const Device& device, Part part)
      : profile_(device.profile() != nullptr && device.profile()->running() ? device.profile()
                                                                            : nullptr) {
    if (profile_ != nullptr) profile_->enter(part);
  }
  ~ProfileScope() {
    if (profile_ != nullptr) profile_->leave();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

  /// Counts bytes that the part reads.
  void read_bytes(double bytes) {
    if (profile_ != nullptr) profile_->add_bytes(bytes);
  }
  void read(const quant::Weight& weight) {
    if (profile_ != nullptr) profile_->add_bytes(stored_bytes(weight));
  }
  void read(const Linear& linear) { read(linear.weight); }

 private:
  static double stored_bytes(const quant::Weight& weight);
  Profile* profile_;
};

}  // namespace lethe::ops
