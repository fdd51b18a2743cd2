// The reading copy of V4.1 against the golden data: `f32.*`, whole prompt, and the DSpark drafts.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "model/reference/v41_reference.h"
#include "model/v41/checkpoint_tokens.h"
#include "model/v41_fixture.h"

namespace lethe::model::reference {
namespace {

/// Distance between computed rows and golden rows.
struct Difference {
  double max_abs = 0;
  double relative_l2 = 0;  ///< worst row
};

Difference difference(const Rows& rows, const std::vector<float>& golden) {
  Difference result;
  const size_t width = golden.size() / rows.size();
  for (size_t t = 0; t < rows.size(); ++t) {
    EXPECT_EQ(rows[t].size(), width);
    double error = 0, norm = 0;
    for (size_t i = 0; i < width; ++i) {
      const double g = double{golden[t * width + i]};
      error += (rows[t][i] - g) * (rows[t][i] - g);
      norm += g * g;
      result.max_abs = std::max(result.max_abs, std::abs(rows[t][i] - g));
    }
    result.relative_l2 = std::max(result.relative_l2, std::sqrt(error / std::max(norm, 1e-30)));
  }
  return result;
}

Rows flatten(const std::vector<Rows>& streams) {
  Rows flat;
  for (const Rows& copies : streams) {
    Row& row = flat.emplace_back();
    for (const Row& copy : copies) row.insert(row.end(), copy.begin(), copy.end());
  }
  return flat;
}

/// One model with its reference pass over prefill and decode tokens, shared by the tests below.
struct Pass {
  Pass(const std::filesystem::path& directory, const std::vector<int32_t>& tokens)
      : checkpoint(Checkpoint::open(directory.string())),
        reference(checkpoint, v41::load_engram_token_map(checkpoint).compressed),
        trace(reference.forward({.tokens = tokens, .in_image = {}, .embeddings = {}})) {}

  Checkpoint checkpoint;
  V41Reference reference;
  V41Trace trace;
};

class V41ReferenceGolden : public testing::V41GoldenTest {
 protected:
  void SetUp() override {
    testing::V41GoldenTest::SetUp();
    if (IsSkipped()) return;
    static std::map<std::string, std::unique_ptr<Pass>> passes;  // each takes seconds
    auto& pass = passes[GetParam()];
    if (!pass) pass = std::make_unique<Pass>(directory_, tokens_);
    pass_ = pass.get();
    sel_ = golden_->ints("sel");
  }

  const V41Trace& trace() const { return pass_->trace; }
  const V41LayerTrace& layer(int64_t l) const { return trace().layers.at(static_cast<size_t>(l)); }
  template <typename T>
  std::vector<T> at_sel(const std::vector<T>& rows) const {
    std::vector<T> picked;
    for (const int64_t t : sel_) picked.push_back(rows.at(static_cast<size_t>(t)));
    return picked;
  }
  void expect_close(const Rows& rows, const std::string& name, double tolerance) const {
    EXPECT_LE(difference(rows, golden_->floats("f32." + name)).relative_l2, tolerance) << name;
  }

  Pass* pass_ = nullptr;
  std::vector<int64_t> sel_;
};

TEST_P(V41ReferenceGolden, Logits) {
  const Difference d = difference(trace().logits, golden_->floats("f32.logits"));
  EXPECT_LE(d.max_abs, 2e-4);
  EXPECT_LE(d.relative_l2, 1e-4);
}

TEST_P(V41ReferenceGolden, Streams) {
  for (const int64_t l : testing::numbered(*golden_, "f32.h.L")) {
    const V41LayerTrace& out = layer(l);
    expect_close(flatten(at_sel(out.h)), "h.L" + std::to_string(l), 1e-4);
  }
  for (const int64_t l : testing::numbered(*golden_, "f32.attn_out.L")) {
    const V41LayerTrace& out = layer(l);
    const std::string number = std::to_string(l);
    expect_close(at_sel(out.attn_out), "attn_out.L" + number, 1e-4);
    expect_close(at_sel(out.ffn_out), "ffn_out.L" + number, 1e-4);
    expect_close(at_sel(out.window_kv), "wkv.L" + number, 1e-4);
  }
  expect_close(trace().last_pre, "premix.last", 1e-4);
  expect_close(at_sel(trace().final_hidden), "final_hidden", 1e-4);
  expect_close(at_sel(trace().main_hidden), "main_hidden", 1e-4);
}

TEST_P(V41ReferenceGolden, Engram) {
  for (const int64_t l : testing::numbered(*golden_, "f32.engram_out.L")) {
    const V41LayerTrace& out = layer(l);
    expect_close(out.engram_gate, "engram_gate.L" + std::to_string(l), 1e-4);
    expect_close(flatten(at_sel(out.engram_out)), "engram_out.L" + std::to_string(l), 1e-4);
  }
}

TEST_P(V41ReferenceGolden, CompressedRowsAndIndexKeys) {
  for (const int64_t l : testing::numbered(*golden_, "f32.ckv.L")) {
    const V41LayerTrace& out = layer(l);
    expect_close(out.compressed, "ckv.L" + std::to_string(l), 1e-4);
    expect_close(out.index_keys, "ik.L" + std::to_string(l), 1e-4);
  }
}

TEST_P(V41ReferenceGolden, SelectionsAreEqual) {
  for (const int64_t l : testing::numbered(*golden_, "f32.topk.L")) {
    const auto& selected = layer(l).selected;
    const std::string name = "f32.topk.L" + std::to_string(l);
    const auto rows = golden_->ints(name);
    const auto k = static_cast<size_t>(golden_->shape(name)[1]);
    for (size_t t = 0; t < selected.size(); ++t) {
      std::vector<int64_t> padded = selected[t];
      padded.resize(k, -1);
      EXPECT_TRUE(std::equal(padded.begin(), padded.end(),
                             rows.begin() + static_cast<std::ptrdiff_t>(t * k)))
          << name << " row " << t;
    }
  }
}

TEST_P(V41ReferenceGolden, CandidatesAreEqual) {
  const int64_t source = pass_->checkpoint.config().candidate_source_layer_id.value();
  const auto& candidates = layer(source).candidates;
  const auto cand = golden_->ints("f32.cand");
  const auto width = static_cast<size_t>(golden_->shape("f32.cand")[1]);
  for (size_t t = 0; t < candidates.size(); ++t) {
    // A pass knows only the rows that exist in it; past the query's own row nothing is visible.
    for (size_t j = 0; j <= t; ++j) {
      ASSERT_EQ(candidates[t][j], cand[t * width + j] != 0) << "token " << t << " row " << j;
    }
  }
}

TEST_P(V41ReferenceGolden, ExpertsAreEqual) {
  for (const int64_t l : testing::numbered(*golden_, "f32.gate_idx.L")) {
    const V41LayerTrace& out = layer(l);
    std::vector<int64_t> experts;
    for (const auto& row : out.experts) experts.insert(experts.end(), row.begin(), row.end());
    EXPECT_EQ(experts, golden_->ints("f32.gate_idx.L" + std::to_string(l))) << l;
    expect_close(out.expert_weights, "gate_w.L" + std::to_string(l), 1e-4);
  }
}

TEST_P(V41ReferenceGolden, Drafts) {
  const auto tokens = golden_->ints("f32.spec.tokens");
  const auto width = static_cast<size_t>(golden_->shape("f32.spec.tokens")[1]);
  const auto logits = golden_->floats("f32.spec.logits");
  const auto with_logits = static_cast<size_t>(golden_->shape("f32.spec.logits")[0]);
  Rows confidences;
  for (size_t i = 0; i < tokens.size() / width; ++i) {
    const int64_t position = prefill_ + static_cast<int64_t>(i);
    const Row& last = trace().logits.at(static_cast<size_t>(position));
    const auto anchor = std::max_element(last.begin(), last.end()) - last.begin();
    const V41Draft draft =
        pass_->reference.draft(trace().main_hidden, position, static_cast<int32_t>(anchor));
    const std::vector<int64_t> drafted(draft.tokens.begin(), draft.tokens.end());
    EXPECT_TRUE(std::equal(drafted.begin(), drafted.end(),
                           tokens.begin() + static_cast<std::ptrdiff_t>(i * width)))
        << "decode step " << i;
    confidences.push_back(draft.confidence);
    if (i >= with_logits) continue;
    const size_t size = logits.size() / with_logits;
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(i * size);
    const std::vector<float> expected(begin, begin + static_cast<std::ptrdiff_t>(size));
    EXPECT_LE(difference(draft.logits, expected).max_abs, 2e-4) << "decode step " << i;
  }
  EXPECT_LE(difference(confidences, golden_->floats("f32.spec.conf")).max_abs, 2e-4);
}

TEST_P(V41ReferenceGolden, ImagePrompt) {
  V41Input input;
  input.tokens = golden_->tokens("img.ids");
  const auto types = golden_->ints("img.types");
  const auto embeds = golden_->floats("f32.img.embeds");
  const auto dim = static_cast<size_t>(pass_->checkpoint.config().hidden_size);
  const testing::GoldenFile weights(directory_ / "model.safetensors");
  const std::map<int64_t, std::string> vectors = {
      {0, "image_start"}, {2, "image_newline"}, {3, "image_end"}};
  size_t next = 0;
  for (size_t t = 0; t < types.size(); ++t) {
    input.in_image.push_back(types[t] >= 0);
    if (types[t] < 0) continue;
    auto& embedding = input.embeddings[static_cast<int64_t>(t)];
    if (types[t] == 1) {
      const auto begin = embeds.begin() + static_cast<std::ptrdiff_t>(next++ * dim);
      embedding.assign(begin, begin + static_cast<std::ptrdiff_t>(dim));
    } else {
      embedding = weights.floats(vectors.at(types[t]));
    }
  }
  for (const int64_t id : golden_->ints("img.decode_ids")) {
    input.tokens.push_back(static_cast<int32_t>(id));
    input.in_image.push_back(false);
  }
  const V41Trace trace = pass_->reference.forward(input);
  const Difference d = difference(trace.logits, golden_->floats("f32.img.logits"));
  EXPECT_LE(d.max_abs, 2e-4);
}

LETHE_FOR_EACH_V41_SET(V41ReferenceGolden);

}  // namespace
}  // namespace lethe::model::reference
