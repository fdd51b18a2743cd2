#include "serve/served_model.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/check_request.h"
#include "kernels/kernel_sets.h"
#include "serve/model_tokenizer.h"
#include "tensor/gguf.h"
#include "text/prompt_texts.h"
#include "text/prompt_tokens.h"
#include "text/request_fields.h"

namespace lethe::serve {

namespace {

namespace fs = std::filesystem;
using namespace prompt_texts;

constexpr std::array kV4Tokens = {kBos,        kEos,      kUser, kAssistant,
                                  kThinkBegin, kThinkEnd, kDsml, kLatestReminder};
constexpr size_t kEncoderBytesMax = 1 << 20;

/// The encoder module that releases ship in a folder beside the weights; empty if there is none.
std::string encoder_text(const std::string& directory) {
  std::string text;
  std::error_code error;
  for (auto at = fs::directory_iterator(fs::path(directory) / "encoding", error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    const fs::path& path = at->path();
    if (path.extension() != ".py" || path.filename().string().find("test") != std::string::npos) {
      continue;
    }
    std::error_code unreadable;
    const bool is_file = fs::is_regular_file(path, unreadable);
    const uintmax_t size = is_file ? fs::file_size(path, unreadable) : 0;
    if (!is_file || unreadable || size > kEncoderBytesMax) continue;
    std::ifstream in(path, std::ios::binary);
    text.append(std::istreambuf_iterator<char>(in), {});
  }
  return text;
}

const PromptProfile& find_profile(const Checkpoint& checkpoint, const std::string& option) {
  const std::string encoder = encoder_text(checkpoint.directory());
  std::string chat_template;
  if (const GgufFile* gguf = checkpoint.gguf()) {
    const GgufValue* value = gguf->value("tokenizer.chat_template");
    if (value != nullptr) chat_template = value->as_string().value_or("");
  }
  const bool is_v41 = checkpoint.config().family == ModelFamily::V41;
  const std::string path = fs::absolute(checkpoint.path()).string();
  return detect_prompt_profile({.option = option,
                                .encoder_file = encoder,
                                .model_type = is_v41 ? "deepseek_v41" : "deepseek_v4",
                                .file_name = path,
                                .chat_template = chat_template});
}

std::vector<std::string_view> find_missing(const Tokenizer& tokenizer,
                                           const PromptProfile& profile) {
  std::vector<std::string_view> wanted(kV4Tokens.begin(), kV4Tokens.end());
  if (profile.is_v41) wanted.push_back(kSystem);
  std::erase_if(wanted, [&](std::string_view text) { return tokenizer.find_added(text); });
  return wanted;
}

Tokenizer open_tokenizer(const Checkpoint& checkpoint) {
  const std::string json = (fs::path(checkpoint.directory()) / "tokenizer.json").string();
  if (!checkpoint.is_gguf() || !fs::exists(json)) {
    return checkpoint.is_gguf() ? gguf_tokenizer(*checkpoint.gguf(), checkpoint.path())
                                : load_model_tokenizer(json);
  }
  // A GGUF carries its own; one beside it serves where it does not.
  return checkpoint.gguf()->value("tokenizer.ggml.tokens") != nullptr
             ? gguf_tokenizer(*checkpoint.gguf(), checkpoint.path())
             : load_model_tokenizer(json);
}

std::unique_ptr<model::Model> load(Checkpoint& checkpoint, ops::Device& device,
                                   const ServedModelOptions& options) {
  model::ModelOptions with = options.model;
  const auto placed = model::place_weights(checkpoint, device.team(), options.weights);
  with.expert_cache_bytes = placed.expert_cache_bytes;
  device.set_replicas(placed.replicas);
  return model::load_model(checkpoint, device, with);
}

}  // namespace

ServedModel::ServedModel(const ServedModelOptions& options)
    : checkpoint_(Checkpoint::open(options.path, {.draft_file = options.draft_file})),
      tokenizer_(open_tokenizer(checkpoint_)),
      profile_(find_profile(checkpoint_, options.profile)),
      team_(options.threads, options.pinning),
      device_(team_, options.numerics, kernels::select_kernels(options.isa)),
      model_(load(checkpoint_, device_, options)),
      missing_tokens_(find_missing(tokenizer_, profile_)) {
  check_tokenizer();
  find_names();
  for (int32_t id = 0; id < tokenizer_.size(); ++id) {
    longest_token_ = std::max(longest_token_, tokenizer_.token_bytes(id).size());
  }
  end_tokens_ = {static_cast<int32_t>(checkpoint_.config().eos_token_id)};
  if (const auto eos = tokenizer_.eos(); eos && *eos != end_tokens_[0]) {
    end_tokens_.push_back(*eos);
  }
}

void ServedModel::check_tokenizer() const {
  const int64_t vocab = checkpoint_.config().vocab_size;
  if (tokenizer_.size() > vocab) {
    throw LoadError(
        "{}: its tokenizer has {} tokens, but the model only {}: they do not belong together. Put "
        "the model's own tokenizer.json beside it.",
        checkpoint_.path(), tokenizer_.size(), vocab);
  }
}

void ServedModel::find_names() {
  const ModelConfig& config = checkpoint_.config();
  if (config.family == ModelFamily::V41) {
    id_ = "deepseek-flash";
  } else {
    const bool is_pro = config.hidden_size >= preset_config("v4-pro").hidden_size;
    id_ = is_pro ? "deepseek-v4-pro" : "deepseek-v4-flash";
  }
  if (!config.name.empty() && config.name != id_) aliases_.push_back(config.name);
}

bool ServedModel::can_think() const {
  const auto lacks = [&](std::string_view text) {
    return std::ranges::find(missing_tokens_, text) != missing_tokens_.end();
  };
  return !lacks(kThinkBegin) && !lacks(kThinkEnd) && !lacks(kSystem);
}

void ServedModel::check_length(const Prompt& prompt) const {
  size_t bytes = 0;
  for (const PromptSegment& segment : prompt.segments()) bytes += segment.text.size();
  const auto at_least = static_cast<int64_t>(bytes / longest_token_);
  if (at_least <= context_length()) return;
  throw engine::ContextLengthError(
      "This model's maximum context length is {} tokens. However, you requested at least {} tokens "
      "in the messages. Please reduce the length of the messages.",
      context_length(), at_least);
}

std::vector<int32_t> ServedModel::encode(const Prompt& prompt) const {
  for (const std::string_view missing : missing_tokens_) {
    for (const PromptSegment& segment : prompt.segments()) {
      if (!segment.is_template || segment.text.find(missing) == std::string::npos) continue;
      throw RequestError(
          400,
          fmt::format("this model's tokenizer has no {} token, which the prompt needs: {}", missing,
                      missing == kSystem ? "switch thinking off and leave system messages out"
                      : missing == kDsml ? "leave tools out"
                                         : "it cannot hold this conversation"));
    }
  }
  check_length(prompt);
  return encode_prompt(tokenizer_, prompt);
}

}  // namespace lethe::serve
