#pragma once

#include <memory>
#include <span>
#include <utility>

#include "base/thread_team.h"
#include "kernels/kernel_table.h"
#include "ops/matrix.h"
#include "ops/numerics.h"
#include "ops/weight_replicas.h"

namespace lethe::ops {

class Profile;

/// Where operations run, and in which arithmetic: a thread team, a kernel set, the numerics mode.
/// The CPU is the only device so far. Not thread-safe: one forward pass at a time.
class Device {
 public:
  /// `team` must outlive the device, and `kernels` too (kernels::select_kernels are for ever).
  Device(ThreadTeam& team, Numerics numerics,
         const kernels::KernelTable& kernels = kernels::kernel_table())
      : team_(&team), numerics_(numerics), kernels_(&kernels) {}

  ThreadTeam& team() const noexcept { return *team_; }
  Numerics numerics() const noexcept { return numerics_; }
  bool official() const noexcept { return numerics_ == Numerics::Official; }
  const kernels::KernelTable& kernels() const noexcept { return *kernels_; }

  /// Where the time of this device's operations is noted; null: nowhere (ops/profile.h).
  Profile* profile() const noexcept { return profile_; }
  /// `profile` must outlive the device and its copies.
  void set_profile(Profile* profile) noexcept { profile_ = profile; }

  /// Copies of the weights of which each thread reads the nearest; null: there are none.
  const WeightReplicas* replicas() const noexcept { return replicas_.get(); }
  void set_replicas(std::shared_ptr<const WeightReplicas> replicas) noexcept {
    replicas_ = std::move(replicas);
  }

  /// The rounding point "result is stored as bf16" of the reference: rounds in `official`, keeps
  /// f32 in the other modes.
  void store_bf16(std::span<float> values) const;
  void store_bf16(Matrix& matrix) const { store_bf16(matrix.values()); }

  /// Runs body(row) for every row of a batch.
  template <typename Body>
  void for_rows(int64_t rows, Body&& body) const {
    team_->parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) body(r);
    });
  }

 private:
  ThreadTeam* team_;
  Numerics numerics_;
  const kernels::KernelTable* kernels_;
  Profile* profile_ = nullptr;
  std::shared_ptr<const WeightReplicas> replicas_;
};

}  // namespace lethe::ops
