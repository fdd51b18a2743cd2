#include "model/synth/synth_checkpoint.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "base/error.h"
#include "golden_paths.h"
#include "model/synth/gguf_layout.h"
#include "temporary_directory.h"
#include "tensor/checkpoint.h"
#include "tensor/gguf.h"
#include "tensor/inventory.h"
#include "tensor/safetensors.h"

namespace fs = std::filesystem;

namespace lethe::synth {
namespace {

class SynthCheckpoint : public ::testing::Test {
 protected:
  SynthOptions options(const std::string& preset, const std::string& directory = "out") const {
    SynthOptions o;
    o.preset = preset;
    o.out = (root_ / directory).string();
    return o;
  }

  const testing::TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();
};

std::string bytes_of_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// File name -> bytes of everything in a directory.
std::map<std::string, std::string> contents(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    files[entry.path().filename().string()] = bytes_of_file(entry.path());
  }
  return files;
}

TEST_F(SynthCheckpoint, SafetensorsHoldExactlyTheExpectedTensors) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    const SynthOptions o = options(preset, preset);
    synth_checkpoint(o);
    const ModelConfig config = read_hf_config(o.out + "/config.json");
    const SafetensorsFile file = SafetensorsFile::open(o.out + "/model.safetensors");
    size_t expected = 0;
    for (const TensorSpec& spec : expected_tensors(config)) {
      for (const TensorPlan& plan : released_tensors(spec, config.fp8_block)) {
        const TensorView* tensor = file.find(plan.name);
        ASSERT_NE(tensor, nullptr) << plan.name;
        EXPECT_EQ(tensor->dtype, plan.dtype) << plan.name;
        EXPECT_EQ(tensor->shape, plan.shape) << plan.name;
        ++expected;
      }
    }
    EXPECT_EQ(file.tensors().size(), expected);
  }
}

TEST_F(SynthCheckpoint, OpensWithoutFaultsInEveryFormat) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    for (const bool gguf : {false, true}) {
      SynthOptions o = options(preset, std::string(preset) + (gguf ? "-gguf" : ""));
      o.gguf = gguf;
      o.draft = !(gguf && std::string_view(preset) == "v4.1-tiny");
      synth_checkpoint(o);
      const Checkpoint checkpoint = Checkpoint::open(o.out);
      EXPECT_TRUE(checkpoint.faults().empty()) << preset << ": " << checkpoint.faults().front();
      EXPECT_TRUE(checkpoint.unexpected_tensors().empty())
          << preset << ": " << checkpoint.unexpected_tensors().front();
      EXPECT_EQ(checkpoint.is_gguf(), gguf);
      EXPECT_EQ(checkpoint.has_draft(), o.draft) << preset;
      EXPECT_EQ(checkpoint.config().num_hidden_layers, preset_config(preset).num_hidden_layers);
    }
  }
}

TEST_F(SynthCheckpoint, OpensInEveryExpertEncoding) {
  for (const DTypeInfo& info : all_dtypes()) {
    if (!is_block_encoding(info.dtype) && info.dtype != DType::BF16) continue;
    SynthOptions o = options("tiny", std::string(info.name));
    o.gguf = true;
    o.layers = 2;
    o.draft = false;
    o.expert_encoding = o.dense_encoding = info.dtype;
    synth_checkpoint(o);
    const Checkpoint checkpoint = Checkpoint::open(o.out);
    EXPECT_EQ(checkpoint.get("layers.1.ffn.experts.7.w2.weight").tensor.dtype, info.dtype);
    EXPECT_EQ(checkpoint.get("layers.1.attn.wq_b.weight").tensor.dtype, info.dtype);
  }
}

TEST_F(SynthCheckpoint, OverridesChangeTheModel) {
  SynthOptions o = options("v4-flash");
  o.layers = 5;
  o.experts = 6;
  o.vocab = 1000;
  o.draft = false;
  const Vocabulary vocabulary = synth_vocabulary(o);
  const ModelConfig c = synth_config(o, vocabulary);
  EXPECT_EQ(c.compress_ratios, (std::vector<int64_t>{0, 0, 4, 128, 4}));
  EXPECT_EQ(c.num_hash_layers, 3);
  EXPECT_EQ(c.n_routed_experts, 6);
  EXPECT_EQ(c.vocab_size, 1000);
  EXPECT_EQ(c.num_nextn_predict_layers, 0);
  EXPECT_EQ(c.hidden_size, 4096);
}

TEST_F(SynthCheckpoint, ManyLayersContinueThePattern) {
  SynthOptions o = options("tiny");
  o.layers = 9;
  const ModelConfig c = synth_config(o, synth_vocabulary(o));
  EXPECT_EQ(c.compress_ratios, (std::vector<int64_t>{0, 4, 128, 4, 128, 4, 128, 4, 128, 0}));
}

TEST_F(SynthCheckpoint, AllLayersOfV41AreThePresetsOwn) {
  SynthOptions o = options("v4.1-flash");
  const ModelConfig preset = preset_config("v4.1-flash");
  o.layers = preset.num_hidden_layers - 1;
  const Vocabulary vocabulary = make_vocabulary(ModelFamily::V41, 400);
  const ModelConfig fewer = synth_config(o, vocabulary);
  EXPECT_EQ(fewer.num_hidden_layers, 39);
  EXPECT_EQ(fewer.kv_source_layer_ids, preset.kv_source_layer_ids);
  EXPECT_EQ(fewer.index_source_layer_ids, preset.index_source_layer_ids);
  o.layers = preset.num_hidden_layers;
  const ModelConfig c = synth_config(o, vocabulary);
  EXPECT_EQ(c.compress_ratios, preset.compress_ratios);
  EXPECT_EQ(c.kv_source_layer_ids, preset.kv_source_layer_ids);
  EXPECT_EQ(c.index_source_layer_ids, preset.index_source_layer_ids);
  // The rows of the released tables follow from the same prime search.
  EXPECT_EQ(c.engram.num_embeddings, preset.engram.num_embeddings);
}

// Roles must fit together whatever the depth: sources before their readers, targets inside.
TEST_F(SynthCheckpoint, V41RolesFitTogetherAtAnyDepth) {
  const Vocabulary vocabulary = make_vocabulary(ModelFamily::V41, 320);
  for (const char* preset : {"v4.1-flash", "v4.1-tiny"}) {
    for (int64_t layers = 4; layers <= 44; ++layers) {
      SynthOptions o = options(preset);
      o.layers = layers;
      o.engram_rows = 3000;
      const ModelConfig c = synth_config(o, vocabulary);
      EXPECT_TRUE(config_faults(c).empty())
          << preset << ' ' << layers << ": " << config_faults(c).front();
      ASSERT_EQ(static_cast<int64_t>(c.compress_ratios.size()),
                layers + c.num_nextn_predict_layers);
      const int64_t first_source = c.kv_source_layer_ids.front();
      for (int64_t layer = 0; layer < layers; ++layer) {
        EXPECT_EQ(c.compress_ratio(layer) != 0, layer >= first_source) << layers;
      }
      EXPECT_EQ(c.compress_ratio(*c.candidate_source_layer_id), 1);
      EXPECT_EQ(c.compress_ratio(*c.candidate_source_layer_id - 1), 2);
      EXPECT_EQ(c.dspark.target_layer_ids.back(), layers - 1);
      EXPECT_EQ(c.engram.layer_ids.size(), 2U);
    }
  }
}

TEST_F(SynthCheckpoint, TheTinyPresetAgreesWithItsTokenizer) {
  const ModelConfig preset = preset_config("v4.1-tiny");
  const SynthOptions o = options("v4.1-tiny");
  const ModelConfig c = synth_config(o, synth_vocabulary(o));
  EXPECT_EQ(c.engram.num_embeddings, preset.engram.num_embeddings);
  EXPECT_EQ(c.engram.compressed_vocab_size, preset.engram.compressed_vocab_size);
  EXPECT_EQ(c.dspark.noise_token_id, preset.dspark.noise_token_id);
  EXPECT_EQ(c.image_token_id, preset.image_token_id);
}

TEST_F(SynthCheckpoint, TheSameSeedGivesTheSameBytes) {
  for (const bool gguf : {false, true}) {
    SynthOptions o = options("tiny", "a");
    o.gguf = gguf;
    o.force = true;
    o.seed = 11;
    synth_checkpoint(o);
    const auto a = contents(o.out);
    o.out = (root_ / "b").string();
    synth_checkpoint(o);
    EXPECT_EQ(a, contents(o.out));
    o.seed = 12;
    synth_checkpoint(o);
    EXPECT_NE(a, contents(o.out));
  }
}

TEST_F(SynthCheckpoint, ShardsHoldTheSameTensors) {
  SynthOptions o = options("tiny", "whole");
  synth_checkpoint(o);
  const SafetensorsFile whole = SafetensorsFile::open(o.out + "/model.safetensors");
  o.out = (root_ / "shards").string();
  o.shard_size = 3'000'000;
  const SynthReport report = synth_checkpoint(o);
  EXPECT_GT(report.files.size(), 3U);
  const auto index = read_safetensors_index(o.out + "/model.safetensors.index.json");
  EXPECT_EQ(index.size(), whole.tensors().size());
  for (const std::string& path : report.files) {
    const SafetensorsFile shard = SafetensorsFile::open(path);
    for (const TensorView& tensor : shard.tensors()) {
      EXPECT_EQ(index.at(tensor.name), fs::path(path).filename().string());
    }
  }
  std::map<std::string, SafetensorsFile> files;
  for (const auto& [name, file] : index) {
    if (!files.contains(file)) files.emplace(file, SafetensorsFile::open(o.out + "/" + file));
    const TensorView* tensor = files.at(file).find(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_TRUE(std::ranges::equal(tensor->data, whole.find(name)->data)) << name;
  }
}

TEST_F(SynthCheckpoint, RefusesADirectoryThatIsNotEmpty) {
  SynthOptions o = options("tiny");
  fs::create_directories(o.out);
  std::ofstream(o.out + "/notes.txt") << "mine";
  std::ofstream(o.out + "/model.gguf") << "old";
  EXPECT_THROW(synth_checkpoint(o), UsageError);
  EXPECT_EQ(bytes_of_file(o.out + "/model.gguf"), "old");
  o.force = true;
  synth_checkpoint(o);
  EXPECT_EQ(bytes_of_file(o.out + "/notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(o.out + "/model.gguf"));
}

TEST_F(SynthCheckpoint, RefusesWhatTheDiskCannotHold) {
  SynthOptions o = options("v4.1-flash");
  o.layers = 4;
  o.experts = 6;
  o.vocab = 320;
  o.engram_rows = int64_t{1} << 36;
  try {
    synth_checkpoint(o);
    FAIL();
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("are free"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(o.out));
}

/// Files may not grow past `bytes` while it lives: writing fails as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit = {bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  void (*old_handler_)(int);
  rlimit old_{};
};

TEST_F(SynthCheckpoint, AFailedWriteLeavesNothing) {
  for (const bool gguf : {false, true}) {
    SynthOptions o = options("tiny");
    o.gguf = gguf;
    o.shard_size = 3'000'000;
    const FileSizeLimit limit(gguf ? 3'000'000 : 2'500'000);
    EXPECT_THROW(synth_checkpoint(o), IoError);
    EXPECT_FALSE(fs::exists(o.out)) << gguf;
  }
}

TEST_F(SynthCheckpoint, AnInterruptedRunLeavesNothing) {
  const std::atomic<bool> cancelled{true};
  const SynthOptions o = options("tiny");
  EXPECT_THROW(synth_checkpoint(o, &cancelled), Error);
  EXPECT_FALSE(fs::exists(o.out));
}

TEST_F(SynthCheckpoint, RefusesContradictions) {
  const auto refused = [this](auto change) {
    SynthOptions o = options("tiny");
    change(o);
    EXPECT_THROW(synth_checkpoint(o), UsageError);
    EXPECT_FALSE(fs::exists(o.out));
  };
  refused([](SynthOptions& o) { o.preset = "v5"; });
  refused([](SynthOptions& o) { o.layers = 0; });
  refused([](SynthOptions& o) { o.layers = 100000; });
  refused([](SynthOptions& o) { o.experts = 2; });
  refused([](SynthOptions& o) { o.vocab = 100; });
  refused([](SynthOptions& o) { o.engram_rows = 1000; });
  refused([](SynthOptions& o) { o.expert_encoding = DType::Q4_K; });
  refused([](SynthOptions& o) {
    o.preset = "v4.1-tiny";
    o.layers = 2;
  });
}

TEST_F(SynthCheckpoint, RefusesRowsThatAreNoWholeBlocks) {
  SynthOptions o = options("v4-flash");
  o.gguf = true;
  o.dense_encoding = DType::Q4_K;
  o.layers = 1;
  o.experts = 6;
  o.vocab = 320;
  ModelConfig config = synth_config(o, synth_vocabulary(o));
  config.q_lora_rank = 96;
  EXPECT_THROW(gguf_model(config, synth_vocabulary(o), o), UsageError);
}

// tests/golden/gguf: what the stock converter writes for the same configuration.
TEST_F(SynthCheckpoint, GgufHasTheTensorsOfTheStockConverter) {
  const std::string golden = (testing::golden_dir() / "gguf/v4-tiny-a-mxfp4").string() + "/";
  if (!fs::exists(golden + "mtp.gguf")) GTEST_SKIP() << golden << " is absent";
  const ModelConfig config =
      read_hf_config(std::string(LETHE_GOLDEN_DIR) + "/v4-tiny-a/config.json");
  SynthOptions o = options("tiny");
  o.gguf = true;
  const Vocabulary vocabulary = make_vocabulary(ModelFamily::V4, 320);
  const auto compare = [](const GgufLayout& layout, const GgufFile& stock) {
    EXPECT_EQ(layout.tensors.size(), stock.tensors().size());
    for (const OutputTensor& tensor : layout.tensors) {
      const TensorView* theirs = stock.find(tensor.plan.name);
      ASSERT_NE(theirs, nullptr) << tensor.plan.name;
      EXPECT_EQ(theirs->dtype, tensor.plan.dtype) << tensor.plan.name;
      EXPECT_EQ(theirs->shape, tensor.plan.shape) << tensor.plan.name;
    }
    std::set<std::string> keys;
    for (const auto& [key, value] : layout.metadata) keys.insert(key);
    for (const auto& [key, value] : stock.values()) {
      if (key == "tokenizer.chat_template" || key == "deepseek4.feed_forward_length") continue;
      EXPECT_TRUE(keys.contains(key)) << key;
    }
  };
  compare(gguf_model(config, vocabulary, o), GgufFile::open(golden + "model.gguf"));
  compare(gguf_draft(config, vocabulary, o), GgufFile::open(golden + "mtp.gguf"));
}

}  // namespace
}  // namespace lethe::synth
