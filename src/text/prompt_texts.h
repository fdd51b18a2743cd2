#pragma once

#include <string_view>

/// The constants of the prompt format, byte for byte (spec encoding.md sections 1, 2, 4; originals:
/// the encoders shipped with DeepSeek-V4-Pro, V4-Flash-0731 and V4.1-Flash, MIT). Unit tests hold
/// the SHA-256 of the longer ones.
namespace lethe::prompt_texts {

inline constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEos = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kSystem = "<｜System｜>";
inline constexpr std::string_view kUser = "<｜User｜>";
inline constexpr std::string_view kAssistant = "<｜Assistant｜>";
inline constexpr std::string_view kLatestReminder = "<｜latest_reminder｜>";
inline constexpr std::string_view kThinkBegin = "<think>";
inline constexpr std::string_view kThinkEnd = "</think>";
/// The added token inside tool markup; `<`, `/` and the words around it are ordinary text.
inline constexpr std::string_view kDsml = "｜DSML｜";
inline constexpr std::string_view kImage = "<｜deepseek_image｜>";

inline constexpr std::string_view kToolResultBegin = "<tool_result>";
inline constexpr std::string_view kToolResultEnd = "</tool_result>";
/// Between blocks, parts and sections.
inline constexpr std::string_view kBlankLine = "\n\n";

/// Text P1: `max` of the preview, `high` of the general release. 476 bytes.
inline constexpr std::string_view kEffortAbsoluteMaximum =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
    "resolve the root cause, rigorously stress-testing your logic against all potential paths, "
    "edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, "
    "considered alternative, and rejected hypothesis to ensure absolutely no assumption is left "
    "unchecked.\n\n";

/// Text P2: `max` of the general release. 528 bytes.
inline constexpr std::string_view kEffortBeyondMaximum =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
    "exhaustively decompose the problem into its most fundamental components, trace every causal "
    "chain to its root, and resolve the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles "
    "and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n";

/// V4.1: the number goes between the two.
inline constexpr std::string_view kEffortNumberBegin = "Reasoning Effort: ";
inline constexpr std::string_view kEffortNumberEnd =
    " (range 1-100, the higher the value, the more thorough the reasoning)\n\n";

/// The tools section before the schema lines: {0} block, {1} invoke, {2} parameter tag.
inline constexpr std::string_view kToolsBegin =
    "## Tools\n\n"
    "You have access to a set of tools to help answer the user's question. You can invoke tools by "
    "writing a \"<｜DSML｜{0}>\" block like the following:\n\n"
    "<｜DSML｜{0}>\n"
    "<｜DSML｜{1} name=\"$TOOL_NAME\">\n"
    "<｜DSML｜{2} name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE</｜DSML｜{2}>\n"
    "...\n"
    "</｜DSML｜{1}>\n"
    "<｜DSML｜{1} name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</｜DSML｜{1}>\n"
    "</｜DSML｜{0}>\n\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other types "
    "(numbers, booleans, arrays, objects), pass the value in JSON format and set "
    "`string=\"false\"`.\n\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning "
    "inside <think>...</think> BEFORE any tool calls or final response.\n\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n\n"
    "### Available Tool Schemas\n\n";
/// After the schema lines and a blank line.
inline constexpr std::string_view kToolsEnd =
    "You MUST strictly follow the above defined tool name and parameter schemas to invoke tool "
    "calls.\n";

/// The response format section before the schema.
inline constexpr std::string_view kResponseFormat =
    "## Response Format:\n\n"
    "You MUST strictly adhere to the following schema to reply:\n";

}  // namespace lethe::prompt_texts
