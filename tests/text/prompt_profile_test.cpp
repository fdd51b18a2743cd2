#include "text/prompt_profile.h"

#include <gtest/gtest.h>

#include "text/prompt_texts.h"
#include "text/sha256.h"
#include "text/tool_call.h"

namespace lethe {
namespace {

using testing::sha256_hex;

const ReasoningEffort kAbsent;
ReasoningEffort level(const char* name) {
  return std::string(name);
}

TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

// Lengths and hashes of spec encoding.md sections 1 and 4.
TEST(PromptTexts, AreTheSpecifiedBytes) {
  EXPECT_EQ(prompt_texts::kEffortAbsoluteMaximum.size(), 476U);
  EXPECT_EQ(sha256_hex(prompt_texts::kEffortAbsoluteMaximum),
            "f7a24f3b3050d4a83781e9b755b316aae2ec1d9dc87562541d90bcb04d7350f7");
  EXPECT_EQ(prompt_texts::kEffortBeyondMaximum.size(), 528U);
  EXPECT_EQ(sha256_hex(prompt_texts::kEffortBeyondMaximum),
            "53fb31b8392ec5b4a926481943efc67636748f137c1a49d493a7af4d4fa55d2c");
  EXPECT_EQ(effort_prefix(kPromptV41, int64_t{42}).size(), 91U);
}

std::string empty_tools_section(const PromptProfile& profile) {
  Prompt prompt;
  append_tools_section(prompt, profile, {});
  return prompt.text().substr(prompt_texts::kBlankLine.size());
}

TEST(PromptTexts, ToolsSectionsAreTheSpecifiedBytes) {
  for (const auto* profile : {&kPromptV4Preview, &kPromptV4Ga}) {
    EXPECT_EQ(empty_tools_section(*profile).size(), 989U);
    EXPECT_EQ(sha256_hex(empty_tools_section(*profile)),
              "c7d3159308f7d076bee8974ece110fda1f92f6e577306e602ba2b466b4dcd904");
  }
  EXPECT_EQ(empty_tools_section(kPromptV41).size(), 983U);
  EXPECT_EQ(sha256_hex(empty_tools_section(kPromptV41)),
            "3c2b43c02161a7a1cdeac198315dd2880af743771744cbfc2a5f38f162c477ac");
}

TEST(EffortPrefix, IsEachProfilesOwnTable) {
  const std::string p1(prompt_texts::kEffortAbsoluteMaximum);
  const std::string p2(prompt_texts::kEffortBeyondMaximum);
  EXPECT_EQ(effort_prefix(kPromptV4Preview, kAbsent), "");
  EXPECT_EQ(effort_prefix(kPromptV4Preview, level("high")), "");
  EXPECT_EQ(effort_prefix(kPromptV4Preview, level("max")), p1);
  EXPECT_EQ(effort_prefix(kPromptV4Ga, kAbsent), "");
  EXPECT_EQ(effort_prefix(kPromptV4Ga, int64_t{0}), "");
  EXPECT_EQ(effort_prefix(kPromptV4Ga, level("low")), "");
  EXPECT_EQ(effort_prefix(kPromptV4Ga, level("high")), p1);
  EXPECT_EQ(effort_prefix(kPromptV4Ga, level("max")), p2);
  EXPECT_EQ(effort_prefix(kPromptV41, kAbsent), effort_prefix(kPromptV41, int64_t{75}));
  EXPECT_EQ(effort_prefix(kPromptV41, level("low")), effort_prefix(kPromptV41, int64_t{50}));
  EXPECT_EQ(effort_prefix(kPromptV41, level("max")), effort_prefix(kPromptV41, int64_t{100}));
}

TEST(EffortPrefix, RefusesEverythingElse) {
  for (const char* name : {"low", "none", "medium", "xhigh", "MAX", ""}) {
    EXPECT_THROW(effort_prefix(kPromptV4Preview, level(name)), PromptError) << name;
  }
  for (const auto* profile : {&kPromptV4Preview, &kPromptV4Ga, &kPromptV41}) {
    for (const char* name : {"none", "medium", "xhigh", "75"}) {
      EXPECT_THROW(effort_prefix(*profile, level(name)), PromptError) << name;
    }
    for (const int64_t number : {-1, 101}) {
      EXPECT_THROW(effort_prefix(*profile, number), PromptError) << number;
    }
  }
  EXPECT_THROW(effort_prefix(kPromptV4Preview, int64_t{0}), PromptError);
  EXPECT_THROW(effort_prefix(kPromptV41, int64_t{0}), PromptError);
  EXPECT_THROW(effort_prefix(kPromptV4Ga, int64_t{1}), PromptError);
}

TEST(DetectPromptProfile, AsksInTheSpecifiedOrder) {
  const auto detect = [](const ProfileHints& hints) { return detect_prompt_profile(hints).name; };
  EXPECT_EQ(detect({}), "v4_preview");
  EXPECT_EQ(detect({.model_type = "deepseek_v4"}), "v4_preview");
  EXPECT_EQ(detect({.model_type = "deepseek_v41", .file_name = "x-0731"}), "v41");
  EXPECT_EQ(detect({.model_type = "deepseek_v4", .file_name = "DeepSeek-V4-Flash-0731"}), "v4_ga");
  EXPECT_EQ(detect({.file_name = "DeepSeek-V4-Pro-0813.gguf"}), "v4_ga");
  EXPECT_EQ(detect({.chat_template = "... Beyond maximum ..."}), "v4_ga");
  EXPECT_EQ(detect({.chat_template = "... range 1-100 ..."}), "v41");
  EXPECT_EQ(detect({.encoder_file = "Absolute maximum", .file_name = "0731"}), "v4_preview");
  EXPECT_EQ(detect({.option = "v41", .encoder_file = "Beyond maximum"}), "v41");
  EXPECT_THROW(detect({.option = "v5"}), UsageError);
}

}  // namespace
}  // namespace lethe
