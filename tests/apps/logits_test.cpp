// `lethe logits` as people run it: what it writes, and what it says when something is wrong.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "golden_tensors.h"
#include "run_program.h"
#include "temporary_directory.h"

namespace lethe::testing {
namespace {

using ::testing::HasSubstr;

class Logits : public ::testing::Test {
 protected:
  std::string in_temp(const std::string& name) const { return (directory_.path() / name).string(); }

  std::string tokens_file(const std::string& json) const {
    std::ofstream(in_temp("tokens.json")) << json;
    return in_temp("tokens.json");
  }
  /// A copy of the tiny V4 checkpoint to damage.
  std::string copy_of_v4() const {
    const std::filesystem::path copy = directory_.path() / "model";
    std::filesystem::create_directory(copy);
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::filesystem::copy(golden_dir() / "v4-tiny-a" / name, copy / name);
      std::filesystem::permissions(copy / name, std::filesystem::perms::owner_all);
    }
    return copy.string();
  }
  ProgramResult run(const std::string& model, const std::string& tokens,
                    const std::string& more = "") const {
    return run_lethe(fmt::format("logits -m {} --tokens-file {} --out {} {} 2>&1", model, tokens,
                                 in_temp("out.safetensors"), more));
  }
  bool wrote_something() const {
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      if (entry.path().filename().string().find("out.safetensors") == 0) return true;
    }
    return false;
  }
  static std::string v4() { return (golden_dir() / "v4-tiny-a").string(); }

  TemporaryDirectory directory_;
};

TEST_F(Logits, WritesLogitsDraftsAndIntermediates) {
  const std::string tokens = tokens_file("{\"tokens\": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]}");
  const ProgramResult result =
      run(v4(), tokens,
          "--numerics f32 --chunk 4 --decode-from 8 --mtp --dump 'layers.1.*' --dump embed_out");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const GoldenFile out(in_temp("out.safetensors"));
  const auto vocab = out.shape("logits").at(1);
  EXPECT_EQ(out.shape("logits"), (Shape{11, vocab}));
  EXPECT_EQ(out.shape("mtp_logits"), (Shape{10, vocab}));
  const GoldenFile dump(in_temp("out.safetensors.dump.safetensors"));
  EXPECT_EQ(dump.rows("layers.1.attn_out"), 11);
  EXPECT_EQ(dump.rows("layers.1.index_topk"), 11);
  EXPECT_TRUE(dump.has("embed_out"));
  EXPECT_FALSE(dump.has("layers.2.attn_out"));
}

TEST_F(Logits, ChunksAndThreadsChangeNoByteOfTheFile) {
  const std::string tokens = tokens_file("[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]");
  ASSERT_EQ(run(v4(), tokens, "--threads 1").exit_code, 0);
  const ops::Matrix first = GoldenFile(in_temp("out.safetensors")).matrix("logits");
  ASSERT_EQ(run(v4(), tokens, "--threads 3 --chunk 5 --decode-from 12").exit_code, 0);
  EXPECT_EQ(equal_rows(GoldenFile(in_temp("out.safetensors")).matrix("logits"), first), 1.0);
}

TEST_F(Logits, RefusesTokensOutsideTheVocabularyWithoutAFile) {
  const ProgramResult result = run(v4(), tokens_file("[3, 99999999]"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("token 99999999"));
  EXPECT_THAT(result.output, HasSubstr("vocabulary"));
  EXPECT_FALSE(wrote_something());
}

TEST_F(Logits, RefusesTokenFilesThatAreNone) {
  for (const char* json : {"", "{}", "[]", "[1, \"two\"]", "[1.5]", "[-4]", "[[1]]", "nonsense"}) {
    const ProgramResult result = run(v4(), tokens_file(json));
    EXPECT_EQ(result.exit_code, 2) << json;
    EXPECT_THAT(result.output, HasSubstr("token id")) << json;
  }
  EXPECT_EQ(run(v4(), in_temp("absent.json")).exit_code, 2);
}

TEST_F(Logits, RefusesMoreTokensThanTheContext) {
  // The tiny V4.1 model has a context of 4,096 tokens.
  std::string json = "[1";
  for (int i = 0; i < 4096; ++i) json += ", 2";
  const ProgramResult result =
      run((golden_dir() / "v41-tiny-a").string(), tokens_file(json + "]"), "--chunk 4097");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("4096"));
}

TEST_F(Logits, SaysThatImagesAreNotRead) {
  const std::string model = (golden_dir() / "v41-tiny-a").string();
  const ProgramResult result = run(model, tokens_file("[1, 565]"));  // its image_token_id
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("image"));
}

TEST_F(Logits, RefusesATruncatedShard) {
  const std::string model = copy_of_v4();
  const auto size = std::filesystem::file_size(model + "/model.safetensors");
  std::filesystem::resize_file(model + "/model.safetensors", size - 4096);
  const ProgramResult result = run(model, tokens_file("[1, 2]"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("model.safetensors"));
  EXPECT_FALSE(wrote_something());
}

TEST_F(Logits, RefusesAConfigThatContradictsItsTensors) {
  const std::string model = copy_of_v4();
  std::ifstream in(model + "/config.json");
  std::string config((std::istreambuf_iterator<char>(in)), {});
  const std::string wanted = "\"q_lora_rank\": 128";
  ASSERT_NE(config.find(wanted), std::string::npos);
  config.replace(config.find(wanted), wanted.size(), "\"q_lora_rank\": 256");
  std::ofstream(model + "/config.json") << config;
  const ProgramResult result = run(model, tokens_file("[1, 2]"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("wq_a"));
  EXPECT_THAT(result.output, HasSubstr("256"));
}

TEST_F(Logits, RefusesNanScalesRatherThanWriteThem) {
  const std::string model = copy_of_v4();
  std::string file = model + "/model.safetensors";
  uint64_t offset = 0;
  uint64_t bytes = 0;
  {
    const SafetensorsFile tensors = SafetensorsFile::open(file);
    const TensorView* scale = tensors.find("layers.0.attn.wq_a.scale");
    ASSERT_NE(scale, nullptr);
    offset = scale->offset;
    bytes = scale->data.size();
  }
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(static_cast<std::streamoff>(offset));
  out << std::string(bytes, '\xff');
  out.close();
  const ProgramResult result = run(model, tokens_file("[1, 2]"), "--numerics f32");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("not finite"));
  EXPECT_THAT(result.output, HasSubstr("inspect --check"));
  EXPECT_FALSE(wrote_something());
}

TEST_F(Logits, AFullDiskIsSaidAndLeavesNothing) {
  // 8 KiB of file size stand for the full disk: `ulimit -f` counts in KiB here.
  const ProgramResult result =
      run_lethe(fmt::format("logits -m {} --tokens-file {} --out {} 2>&1", v4(),
                            tokens_file("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]"),
                            in_temp("out.safetensors")),
                "ulimit -f 8; ");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("out.safetensors"));
  EXPECT_FALSE(wrote_something());
}

TEST_F(Logits, ExplainsWrongUse) {
  EXPECT_EQ(run_lethe("logits 2>&1").exit_code, 2);
  const std::string tokens = tokens_file("[1]");
  EXPECT_EQ(run(v4(), tokens, "--numerics f16").exit_code, 2);
  EXPECT_EQ(run(v4(), tokens, "--chunk 0").exit_code, 2);
  EXPECT_EQ(run(in_temp("absent"), tokens).exit_code, 1);
  const ProgramResult dump = run(v4(), tokens, "--dump nothing.like.this");
  EXPECT_EQ(dump.exit_code, 2);
  EXPECT_THAT(dump.output, HasSubstr("nothing.like.this"));
  EXPECT_FALSE(wrote_something());
}

TEST_F(Logits, SaysWhenThereIsNoDraftHead) {
  const std::string copy = in_temp("alone.gguf");
  std::filesystem::copy(golden_dir() / "gguf/v4-tiny-a-mxfp4/model.gguf", copy);
  const ProgramResult result = run(copy, tokens_file("[1, 2]"), "--mtp");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("--draft"));
}

}  // namespace
}  // namespace lethe::testing
