#include "base/function_ref.h"

#include <gtest/gtest.h>

#include <memory>

namespace lethe {
namespace {

int call_twice(FunctionRef<int(int)> function) {
  return function(1) + function(2);
}

TEST(FunctionRef, CallsWhatItRefersTo) {
  int calls = 0;
  auto count = [&](int n) {
    ++calls;
    return 10 * n;
  };
  EXPECT_EQ(call_twice(count), 30);
  EXPECT_EQ(call_twice([&](int n) { return calls += n; }), 3 + 5);
  const auto constant = [](int) { return 4; };
  EXPECT_EQ(call_twice(constant), 8);
}

TEST(FunctionRef, KeepsStateInTheObjectAndPassesArgumentsOn) {
  struct Sum {
    int total = 0;
    int operator()(std::unique_ptr<int> n) { return total += *n; }
  } sum;
  const FunctionRef<int(std::unique_ptr<int>)> add = sum;
  const FunctionRef<int(std::unique_ptr<int>)> copy = add;
  EXPECT_EQ(add(std::make_unique<int>(2)), 2);
  EXPECT_EQ(copy(std::make_unique<int>(3)), 5);
  EXPECT_EQ(sum.total, 5);
}

TEST(FunctionRef, AResultCanBeLeftOut) {
  int seen = 0;
  const auto store = [&](int n) { return seen = n; };
  const FunctionRef<void(int)> call = store;
  call(7);
  EXPECT_EQ(seen, 7);
}

}  // namespace
}  // namespace lethe
