#include "scripted_checkpoint.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/file_writer.h"
#include "model/synth/synth_config.h"
#include "model/synth/vocabulary.h"
#include "tensor/inventory.h"
#include "tensor/rounding.h"
#include "tensor/safetensors.h"

namespace lethe::testing {

namespace {

using synth::Vocabulary;

constexpr int64_t kHidden = 128;
constexpr int64_t kBaseVocabulary = 320;
constexpr int32_t kEos = 1;

/// The script as numbers. A code is a row of the Hadamard matrix; code 0 is everybody's who is in
/// no chain.
struct Bigrams {
  std::map<int32_t, int64_t> code_of;          ///< token -> code
  std::vector<std::optional<int32_t>> follow;  ///< code -> the next token
};

/// Appends the script's new tokens to the vocabulary and numbers all of them.
class ScriptReader {
 public:
  ScriptReader(const Script& script, Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    bigrams_.follow.emplace_back();
    for (const std::vector<std::string>& chain : script.chains) {
      for (size_t i = 0; i + 1 < chain.size(); ++i) connect(chain[i], chain[i + 1]);
    }
    if (!script.otherwise.empty()) {
      bigrams_.follow[0] = id_of(script.otherwise.front());
      for (size_t i = 0; i + 1 < script.otherwise.size(); ++i) {
        connect(script.otherwise[i], script.otherwise[i + 1]);
      }
      end(script.otherwise.back());
    }
    for (const std::vector<std::string>& chain : script.chains) end(chain.back());
    for (std::optional<int32_t>& next : bigrams_.follow) next = next.value_or(kEos);
    if (std::ssize(bigrams_.follow) > kHidden) {
      throw Error("the script has {} tokens, and {} are possible", bigrams_.follow.size(), kHidden);
    }
  }

  const Bigrams& bigrams() const { return bigrams_; }

 private:
  int32_t id_of(const std::string& text) {
    for (int64_t id = 0; id < vocabulary_.size(); ++id) {
      if (vocabulary_.tokens[static_cast<size_t>(id)] != text) continue;
      if (vocabulary_.is_special(id)) return static_cast<int32_t>(id);
      throw Error("\"{}\" is an ordinary token: any text may hold it", text);
    }
    if (text.empty()) throw Error("a text of the script is empty");
    vocabulary_.tokens.push_back(text);
    return static_cast<int32_t>(vocabulary_.size() - 1);
  }

  int64_t code_of(const std::string& text) {
    const auto [place, is_new] = bigrams_.code_of.try_emplace(id_of(text), bigrams_.follow.size());
    if (is_new) bigrams_.follow.emplace_back();
    return place->second;
  }

  void connect(const std::string& text, const std::string& next) {
    const auto code = static_cast<size_t>(code_of(text));
    const int32_t id = id_of(next);
    if (bigrams_.follow[code].value_or(id) != id) {
      throw Error("\"{}\" is followed by two different tokens", text);
    }
    bigrams_.follow[code] = id;
  }

  /// A last text without a follower gets a code of its own, whose follower is the end.
  void end(const std::string& text) { code_of(text); }

  Vocabulary& vocabulary_;
  Bigrams bigrams_;
};

/// Entry (row, column) of the Hadamard matrix of any power of two, Sylvester's: +1 or -1.
float hadamard(int64_t row, int64_t column) {
  return std::popcount(static_cast<uint64_t>(row & column)) % 2 == 0 ? 1.0F : -1.0F;
}

/// One layer with a window only, one with compressed entries, index keys and Engram: every part of
/// the state that an engine has to keep is there, and a prompt of any length stays affordable.
void keep_two_layers(ModelConfig& c) {
  c.num_hidden_layers = 2;
  c.compress_ratios = {0, 2};
  c.swiglu_limit.resize(2);
  c.swiglu_limit_shared.resize(2);
  c.kv_source_layer_ids = c.index_source_layer_ids = {1};
  c.candidate_source_layer_id.reset();
  c.engram.layer_ids = {1};
  c.engram.num_embeddings.resize(1);
  c.dspark.target_layer_ids = {1};
}

ModelConfig make_config(const Vocabulary& vocabulary) {
  synth::SynthOptions options;
  options.preset = "v4.1-tiny";
  options.layers = 3;
  options.draft = false;
  options.engram_rows = 600;
  ModelConfig c = synth::synth_config(options, vocabulary);
  keep_two_layers(c);
  c.name = "scripted";
  c.hidden_size = kHidden;
  c.num_attention_heads = 2;
  c.q_lora_rank = 64;
  c.o_lora_rank = 64;
  c.head_dim = 64;
  c.qk_rope_head_dim = 32;
  c.index_n_heads = 1;
  c.index_head_dim = 32;
  c.n_routed_experts = 4;
  c.num_experts_per_tok = 2;
  c.moe_intermediate_size = 64;
  c.engram.head_dim = 32;
  return c;
}

/// Values of the embedding or the head: bf16 [vocab, hidden].
std::vector<uint16_t> token_matrix(const Bigrams& bigrams, int64_t vocab, bool is_head) {
  std::vector<float> values(static_cast<size_t>(vocab * kHidden));
  const auto add_code = [&](int64_t token, int64_t code) {
    for (int64_t d = 0; d < kHidden; ++d) {
      values[static_cast<size_t>(token * kHidden + d)] += hadamard(code, d);
    }
  };
  if (is_head) {
    for (size_t code = 0; code < bigrams.follow.size(); ++code) {
      add_code(*bigrams.follow[code], static_cast<int64_t>(code));
    }
  } else {
    for (int64_t token = 0; token < vocab; ++token) {
      const auto place = bigrams.code_of.find(static_cast<int32_t>(token));
      add_code(token, place == bigrams.code_of.end() ? 0 : place->second);
    }
  }
  std::vector<uint16_t> bits;  // small whole numbers: exact in bf16
  for (const float value : values) bits.push_back(bf16_bits(value));
  return bits;
}

/// What a tensor holds: norms 1, scales 1, everything but embedding and head else 0.
std::vector<std::byte> tensor_bytes(const TensorPlan& plan, const Bigrams& bigrams) {
  const auto count = static_cast<size_t>(num_elements(plan.shape));
  std::vector<uint16_t> halves;
  if (plan.name == "embed.weight" || plan.name == "head.weight") {
    halves = token_matrix(bigrams, plan.shape[0], plan.name == "head.weight");
  } else if (plan.name.ends_with("norm.weight") || plan.name.ends_with("engram.q_weight") ||
             plan.name.ends_with("engram.k_weight")) {
    halves.assign(count, bf16_bits(1));
  }
  if (!halves.empty()) {
    const auto bytes = std::as_bytes(std::span<const uint16_t>(halves));
    return {bytes.begin(), bytes.end()};
  }
  constexpr std::byte kOne{127};  // e8m0
  return std::vector<std::byte>(count * dtype_info(plan.dtype).block_bytes,
                                plan.dtype == DType::F8_E8M0 ? kOne : std::byte{0});
}

void write_weights(const std::string& path, const ModelConfig& config, const Bigrams& bigrams) {
  std::vector<TensorPlan> plans;
  for (const TensorSpec& spec : expected_tensors(config)) {
    for (TensorPlan& plan : released_tensors(spec, config.fp8_block)) plans.push_back(plan);
  }
  std::ranges::stable_sort(plans, [](const TensorPlan& a, const TensorPlan& b) {
    return dtype_info(a.dtype).block_bytes > dtype_info(b.dtype).block_bytes;
  });
  SafetensorsWriter writer(path, plans, {{"format", "pt"}});
  for (const TensorPlan& plan : plans) writer.append(tensor_bytes(plan, bigrams));
  writer.finish();
}

/// synth's tokenizer.json, in which the script's tokens (from `first_new` on) are added tokens that
/// are not special.
std::string scripted_tokenizer_json(const Vocabulary& vocabulary, int64_t first_new) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(synth::tokenizer_json(vocabulary));
  for (auto& token : json["added_tokens"]) {
    if (token["id"].get<int64_t>() >= first_new) token["special"] = false;
  }
  return json.dump() + "\n";
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  FileWriter writer(path.string());
  writer.write(text);
  writer.commit();
}

}  // namespace

Script default_script() {
  return {{{"</think>", "Hello", ", ", "I remember."},
           {"<think>", "Let me ", "see.", "</think>"},
           {"<｜DSML｜ calls>\n", "<｜DSML｜ invoke name=\"get_weather\">\n",
            "<｜DSML｜ parameter name=\"city\" string=\"true\">", "Paris",
            "</｜DSML｜ parameter>\n", "</｜DSML｜ invoke>\n", "</｜DSML｜ calls>"}},
          {"Once", " upon", " a", " time."}};
}

void write_scripted_checkpoint(const std::filesystem::path& directory, const Script& script) {
  Vocabulary vocabulary = synth::make_vocabulary(ModelFamily::V41, kBaseVocabulary);
  const int64_t first_new = vocabulary.size();
  const ScriptReader reader(script, vocabulary);
  const ModelConfig config = make_config(vocabulary);
  std::filesystem::create_directories(directory);
  write_text(directory / "config.json", to_hf_config_json(config));
  write_text(directory / "tokenizer.json", scripted_tokenizer_json(vocabulary, first_new));
  write_text(directory / "tokenizer_config.json", synth::tokenizer_config_json(vocabulary));
  write_weights((directory / "model.safetensors").string(), config, reader.bigrams());
}

}  // namespace lethe::testing
