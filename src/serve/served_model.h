#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_team.h"
#include "model/model.h"
#include "model/weight_placement.h"
#include "ops/device.h"
#include "tensor/checkpoint.h"
#include "text/prompt.h"
#include "text/prompt_profile.h"
#include "text/tokenizer.h"

namespace lethe::serve {

struct ServedModelOptions {
  std::string path;             ///< directory, .safetensors or .gguf
  std::string profile = {};     ///< name of the prompt format; empty: found out
  std::string draft_file = {};  ///< as Checkpoint::OpenOptions
  int threads = 0;              ///< as ThreadTeam
  ThreadTeam::Pinning pinning = ThreadTeam::Pinning::none;
  ops::Numerics numerics = ops::Numerics::Fast;
  std::string isa = "auto";        ///< kernels::select_kernels
  model::ModelOptions model = {};  ///< but for expert_cache_bytes, which `weights` decides
  model::WeightOptions weights = {};
};

/// A model as conversations need it: checkpoint, decoder, tokenizer, prompt format. Its parts refer
/// to each other, so it stays where it is. The decoder is used by one thread at a time; the rest is
/// immutable.
class ServedModel {
 public:
  /// Throws LoadError: checkpoint or tokenizer cannot be used, or do not belong together, or
  /// memory is not enough;
  /// UsageError for an unknown prompt format, or a
  /// kernel set that this machine cannot run.
  explicit ServedModel(const ServedModelOptions& options);
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  model::Model& model() noexcept { return *model_; }
  const model::Model& model() const noexcept { return *model_; }
  const Checkpoint& checkpoint() const noexcept { return checkpoint_; }
  const Tokenizer& tokenizer() const noexcept { return tokenizer_; }
  const PromptProfile& profile() const noexcept { return profile_; }
  int64_t context_length() const noexcept { return checkpoint_.config().max_position_embeddings; }
  int num_threads() const noexcept { return team_.size(); }

  /// The API's name for a model of this family and size ("deepseek-flash"), and the names it has
  /// besides (spec api.md section 1.1).
  const std::string& id() const noexcept { return id_; }
  const std::vector<std::string>& aliases() const noexcept { return aliases_; }

  /// Ids that end the model's turn.
  const std::vector<int32_t>& end_tokens() const noexcept { return end_tokens_; }

  /// Tokens of the prompt format that the vocabulary lacks; empty for released models.
  const std::vector<std::string_view>& missing_tokens() const noexcept { return missing_tokens_; }
  /// Whether a prompt in thinking mode can be written with the tokens there are.
  bool can_think() const;
  /// The ids of a prompt. Throws RequestError if its template needs a missing token, or if it
  /// cannot fit the context however well it tokenises (told from its length, without tokenising
  /// it).
  std::vector<int32_t> encode(const Prompt& prompt) const;

 private:
  void check_tokenizer() const;
  void check_length(const Prompt& prompt) const;
  void find_names();

  Checkpoint checkpoint_;
  Tokenizer tokenizer_;
  const PromptProfile& profile_;
  ThreadTeam team_;
  ops::Device device_;
  std::unique_ptr<model::Model> model_;
  std::string id_;
  std::vector<std::string> aliases_;
  std::vector<int32_t> end_tokens_;
  std::vector<std::string_view> missing_tokens_;
  size_t longest_token_ = 1;  // in bytes
};

}  // namespace lethe::serve
