// The decoder against the reading copy on configurations that the golden data does not have: the
// weights of a golden set with other windows, list lengths, candidate blocks and rotary tables.

#include <fmt/core.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "model/model_fixture.h"
#include "model/reference/v41_reference.h"
#include "model/v41/checkpoint_tokens.h"
#include "model/v41/v41_model.h"
#include "model/v41_fixture.h"
#include "temporary_directory.h"

namespace lethe::testing {
namespace {

using ops::Numerics;
using Edit = std::function<void(nlohmann::json& text_config)>;

class V41Variants : public V41GoldenTest {
 protected:
  /// A directory with the set's weights and tokenizer and an edited config.json.
  void write_variant(const Edit& edit) {
    std::ifstream in(file("config.json"));
    nlohmann::json config = nlohmann::json::parse(in);
    edit(config["text_config"]);
    std::ofstream(variant_.file("config.json")) << config.dump();
    for (const char* name : {"model.safetensors", "tokenizer.json"}) {
      std::filesystem::create_symlink(std::filesystem::absolute(directory_ / name),
                                      variant_.path() / name);
    }
  }

  /// Largest difference between decoder (irregular chunks) and reading copy.
  void expect_decoder_equals_reference(const Edit& edit) {
    write_variant(edit);
    const LoadedModel model(variant_.path(), Numerics::F32);
    const ops::Matrix found = model.logits(tokens_, {7, 64, 1, 130, 1, 1});
    model::reference::V41Reference reference(
        model.checkpoint(), model::v41::load_engram_token_map(model.checkpoint()).compressed);
    const auto trace = reference.forward({.tokens = tokens_, .in_image = {}, .embeddings = {}});
    double largest = 0;
    for (int64_t t = 0; t < found.rows(); ++t) {
      const auto& want = trace.logits[static_cast<size_t>(t)];
      for (size_t v = 0; v < want.size(); ++v) {
        largest = std::max(largest, std::abs(double{found.row(t)[v]} - want[v]));
      }
    }
    fmt::print("max abs difference {:.1e}\n", largest);
    EXPECT_LE(largest, 2e-4);
  }

  TemporaryDirectory variant_;
};

TEST_P(V41Variants, ShortListsFewCandidates) {
  expect_decoder_equals_reference([](nlohmann::json& c) {
    c["index_topk"] = 3;
    c["candidate_topk_blocks"] = 2;
    c["candidate_block_size"] = 3;
    c["sliding_window"] = 5;
  });
}

TEST_P(V41Variants, CandidateBlocksOfOneRow) {
  expect_decoder_equals_reference([](nlohmann::json& c) {
    c["candidate_topk_blocks"] = 20;
    c["candidate_block_size"] = 1;
  });
}

TEST_P(V41Variants, ListsLongerThanAnAttentionBlock) {
  expect_decoder_equals_reference([](nlohmann::json& c) {
    c["index_topk"] = 150;
    c["candidate_topk_blocks"] = 50;
    c["sliding_window"] = 100;
  });
}

TEST_P(V41Variants, WithoutCandidates) {
  expect_decoder_equals_reference([](nlohmann::json& c) {
    c.erase("candidate_source_layer_id");
    c.erase("candidate_topk_blocks");
    c.erase("candidate_block_size");
  });
}

TEST_P(V41Variants, OtherConstants) {
  expect_decoder_equals_reference([](nlohmann::json& c) {
    c["hc_sinkhorn_iters"] = 3;
    c["routed_scaling_factor"] = 2.5;
    c["norm_topk_prob"] = false;
    c["swiglu_limit"] = 0.5;
    c["rope_scaling"]["factor"] = 4;
    c["rope_scaling"]["original_max_position_embeddings"] = 256;
    c["compress_rope_theta"] = 40000;
    c["num_experts_per_tok"] = 1;
  });
}

LETHE_FOR_EACH_V41_SET(V41Variants);

}  // namespace
}  // namespace lethe::testing
