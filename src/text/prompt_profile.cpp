#include "text/prompt_profile.h"

#include <array>

#include "text/prompt_texts.h"

namespace lethe {
namespace {

using namespace std::string_view_literals;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string numeric_prefix(int64_t effort) {
  return fmt::format("{}{}{}", prompt_texts::kEffortNumberBegin, effort,
                     prompt_texts::kEffortNumberEnd);
}

/// Nothing said counts as `low` in the general release, and so do 0 and the empty string there: its
/// encoder takes every false value for none.
std::string named_level(const PromptProfile& profile, const ReasoningEffort& effort) {
  const bool is_ga = &profile == &kPromptV4Ga;
  if (std::holds_alternative<std::monostate>(effort)) {
    return profile.is_v41 ? "high" : is_ga ? "low" : "";
  }
  if (const auto* number = std::get_if<int64_t>(&effort)) {
    if (is_ga && *number == 0) return "low";
    throw PromptError(
        "reasoning effort {}: the {} prompt format has no such number; give low, high or max{}",
        *number, profile.name, profile.is_v41 ? ", or a number from 1 to 100" : "");
  }
  const auto& level = std::get<std::string>(effort);
  return is_ga && level.empty() ? "low" : level;
}

[[noreturn]] void refuse_level(const PromptProfile& profile, const std::string& level,
                               std::string_view accepted) {
  throw PromptError("reasoning effort '{}': the {} prompt format knows {}", level, profile.name,
                    accepted);
}

}  // namespace

const PromptProfile kPromptV4Preview{.name = "v4_preview",
                                     .block_tag = "tool_calls",
                                     .invoke_tag = "invoke",
                                     .parameter_tag = "parameter",
                                     .is_v41 = false};
const PromptProfile kPromptV4Ga{.name = "v4_ga",
                                .block_tag = "tool_calls",
                                .invoke_tag = "invoke",
                                .parameter_tag = "parameter",
                                .is_v41 = false};
const PromptProfile kPromptV41{.name = "v41",
                               .block_tag = " calls",
                               .invoke_tag = " invoke",
                               .parameter_tag = " parameter",
                               .is_v41 = true};

const PromptProfile& prompt_profile(std::string_view name) {
  for (const auto* profile : {&kPromptV4Preview, &kPromptV4Ga, &kPromptV41}) {
    if (profile->name == name) return *profile;
  }
  throw UsageError("prompt format '{}': known are v4_preview, v4_ga and v41", name);
}

const PromptProfile& detect_prompt_profile(const ProfileHints& hints) {
  if (!hints.option.empty()) return prompt_profile(hints.option);
  if (contains(hints.encoder_file, "range 1-100")) return kPromptV41;
  if (contains(hints.encoder_file, "Beyond maximum")) return kPromptV4Ga;
  if (!hints.encoder_file.empty()) return kPromptV4Preview;
  if (hints.model_type == "deepseek_v41" || hints.model_type == "deepseek41") return kPromptV41;
  if (contains(hints.chat_template, "range 1-100")) return kPromptV41;
  if (contains(hints.file_name, "0731") || contains(hints.file_name, "0813")) return kPromptV4Ga;
  if (contains(hints.chat_template, "Beyond maximum")) return kPromptV4Ga;
  return kPromptV4Preview;
}

std::string effort_prefix(const PromptProfile& profile, const ReasoningEffort& effort) {
  if (const auto* number = std::get_if<int64_t>(&effort);
      number != nullptr && profile.is_v41 && *number >= 1 && *number <= 100) {
    return numeric_prefix(*number);
  }
  const std::string level = named_level(profile, effort);
  if (profile.is_v41) {
    if (level == "low") return numeric_prefix(50);
    if (level == "high") return numeric_prefix(75);
    if (level == "max") return numeric_prefix(100);
    refuse_level(profile, level, "low, high, max and numbers from 1 to 100");
  }
  if (&profile == &kPromptV4Ga) {
    if (level == "low") return "";
    if (level == "high") return std::string(prompt_texts::kEffortAbsoluteMaximum);
    if (level == "max") return std::string(prompt_texts::kEffortBeyondMaximum);
    refuse_level(profile, level, "low, high and max");
  }
  // In the preview an absent effort and `high` are the same.
  if (std::holds_alternative<std::monostate>(effort) || level == "high") return "";
  if (level == "max") return std::string(prompt_texts::kEffortAbsoluteMaximum);
  refuse_level(profile, level, "high and max");
}

}  // namespace lethe
