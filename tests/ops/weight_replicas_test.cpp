#include "ops/weight_replicas.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <vector>

#include "ops/linear.h"

namespace lethe::testing {
namespace {

using ops::WeightReplicas;

std::atomic<int> node{0};
int faked_node() {
  return node.load();
}

constexpr int64_t kRows = 40;
constexpr int64_t kColumns = 64;

/// Two "copies" of a matrix that differ, so that results tell which was read: ones, and twos.
class WeightReplicasTest : public ::testing::Test {
 protected:
  WeightReplicasTest() : values_(2 * kRows * kColumns, 1.0f) {
    std::fill(values_.begin() + kRows * kColumns, values_.end(), 2.0f);
    const std::array<int, 2> nodes = {1, 4};
    replicas_ = std::make_shared<WeightReplicas>(std::as_bytes(std::span(values_)), nodes, nullptr,
                                                 faked_node);
  }
  ~WeightReplicasTest() override { node = 0; }

  quant::Weight weight() const {
    return {.encoding = quant::Encoding::F32,
            .rows = kRows,
            .cols = kColumns,
            .data = std::as_bytes(std::span(values_)).data(),
            .row_bytes = kColumns * int64_t{sizeof(float)}};
  }

  std::vector<float> values_;
  std::shared_ptr<const WeightReplicas> replicas_;
};

TEST_F(WeightReplicasTest, AWeightIsReadInTheCopyOfTheNode) {
  const quant::Weight w = weight();
  const std::byte* const second = replicas_->replica(1).data();
  ASSERT_EQ(replicas_->count(), 2U);
  for (const int first : {1, 0, 2, 100}) {  // nodes without a copy read the first
    node = first;
    EXPECT_EQ(replicas_->here(w).data, w.data) << first;
  }
  node = 4;
  EXPECT_EQ(replicas_->here(w).data, second);
  quant::Weight part = w;
  part.data = w.row(3);
  part.scales = w.row(5);
  EXPECT_EQ(replicas_->here(part).data, second + 3 * w.row_bytes);
  EXPECT_EQ(replicas_->here(part).scales, second + 5 * w.row_bytes);
  EXPECT_EQ(replicas_->here(part).rows, kRows);
}

TEST_F(WeightReplicasTest, WhatLiesElsewhereStays) {
  node = 4;
  const std::array<std::byte, 8> other{};
  quant::Weight w = weight();
  w.data = other.data();
  EXPECT_EQ(replicas_->here(w).data, other.data());
  EXPECT_EQ(replicas_->here(w).scales, nullptr);
  w.data = replicas_->replica(1).data();  // one past the first copy
  EXPECT_EQ(replicas_->here(w).data, w.data);
}

TEST_F(WeightReplicasTest, ProductsReadTheNodesCopy) {
  ThreadTeam team(2);
  for (const ops::Numerics numerics : {ops::Numerics::F32, ops::Numerics::Fast}) {
    ops::Device device(team, numerics);
    device.set_replicas(replicas_);
    for (const int64_t tokens : {1, 3, 20}) {
      ops::Matrix x(tokens, kColumns);
      std::ranges::fill(x.values(), 1.0f);
      for (const auto& [where, value] : {std::pair(1, 64.0f), std::pair(4, 128.0f)}) {
        node = where;
        const ops::Matrix y =
            ops::linear(device, x, {.weight = weight(), .role = ops::LinearRole::Head});
        EXPECT_TRUE(std::ranges::all_of(y.values(), [&](float v) { return v == value; }))
            << where << ", " << tokens << " tokens";
      }
    }
  }
}

TEST(CurrentNode, IsOneWithANumber) {
  EXPECT_GE(current_node(), 0);
  EXPECT_LT(current_node(), 1 << 16);
}

}  // namespace
}  // namespace lethe::testing
