#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace lethe {

/// A conversation or an option that the prompt format does not allow.
class PromptError : public Error {
 public:
  using Error::Error;
  int exit_code() const noexcept override { return 2; }
};

/// How hard to think: nothing said, a level by name, or (V4.1) a number from 1 to 100.
using ReasoningEffort = std::variant<std::monostate, std::string, int64_t>;

/// One of the three prompt formats of the family (spec encoding.md section 1): V4 as first
/// released, V4 of the general release (0731, 0813 and their repackagings), V4.1.
struct PromptProfile {
  std::string_view name;       ///< v4_preview, v4_ga, v41
  std::string_view block_tag;  ///< after the DSML token; V4.1's tags begin with a space
  std::string_view invoke_tag;
  std::string_view parameter_tag;
  bool is_v41;  ///< system token, numeric effort, images, namespaces; no developer role
};

extern const PromptProfile kPromptV4Preview;
extern const PromptProfile kPromptV4Ga;
extern const PromptProfile kPromptV41;

/// The profile of that name. Throws UsageError for any other name, listing the three.
const PromptProfile& prompt_profile(std::string_view name);

/// What is known of a checkpoint; empty where nothing is.
struct ProfileHints {
  std::string_view option = {};         ///< named by the user: wins
  std::string_view encoder_file = {};   ///< text of the encoder module shipped with the checkpoint
  std::string_view model_type = {};     ///< config.json's model_type, or GGUF's architecture
  std::string_view file_name = {};      ///< of the file, folder or repository
  std::string_view chat_template = {};  ///< GGUF's tokenizer.chat_template
};

/// Tells the profiles apart in the order of spec section 1; an unmarked V4 is v4_preview. Throws
/// UsageError for an unknown option.
const PromptProfile& detect_prompt_profile(const ProfileHints& hints);

/// The text put before the first message in thinking mode, as the checkpoint's own encoder chooses
/// it; may be empty. Throws PromptError for a value that the encoder refuses.
std::string effort_prefix(const PromptProfile& profile, const ReasoningEffort& effort);

}  // namespace lethe
