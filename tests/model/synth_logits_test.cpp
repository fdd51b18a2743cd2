#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/thread_team.h"
#include "model/model.h"
#include "model/synth/synth_checkpoint.h"
#include "temporary_directory.h"
#include "tensor/checkpoint.h"

namespace lethe::synth {
namespace {

/// Logits of every position of an arbitrary text.
ops::Matrix logits_of(const Checkpoint& checkpoint, ops::Numerics numerics, int64_t length) {
  ThreadTeam team(2);
  const ops::Device device(team, numerics);
  const auto model = model::load_model(checkpoint, device);
  model::SequenceState state = model->new_state();
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<int32_t>(3 + (i * i * 7 + i) % 256);
  }
  const model::SequenceChunk chunk{&state, tokens, model::LogitRows::All};
  return model->forward(std::span(&chunk, 1)).logits;
}

void expect_sane(const ops::Matrix& logits) {
  std::set<int64_t> argmaxes;
  double square_sum = 0;
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const std::span<const float> row = logits.row(r);
    for (const float x : row) {
      ASSERT_TRUE(std::isfinite(x)) << "position " << r;
      square_sum += double{x} * double{x};
    }
    argmaxes.insert(std::max_element(row.begin(), row.end()) - row.begin());
  }
  const double rms = std::sqrt(square_sum / static_cast<double>(logits.values().size()));
  EXPECT_GT(rms, 1.0);
  EXPECT_LT(rms, 6.0);
  EXPECT_GT(static_cast<int64_t>(argmaxes.size()), logits.rows() / 4);
}

// The weights are scaled so that activations stay of order 1 through all layers.
TEST(SynthLogits, AreFiniteAndVaryFromTokenToToken) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    for (const bool gguf : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", preset, gguf ? "gguf" : "safetensors"));
      const testing::TemporaryDirectory directory;
      SynthOptions o;
      o.preset = preset;
      o.gguf = gguf;
      o.layers = 10;
      o.draft = false;
      o.out = directory.file("out");
      synth_checkpoint(o);
      expect_sane(logits_of(Checkpoint::open(o.out), ops::Numerics::F32, 140));
    }
  }
}

}  // namespace
}  // namespace lethe::synth
