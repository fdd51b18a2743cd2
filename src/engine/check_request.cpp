#include "engine/check_request.h"

#include <algorithm>

namespace lethe::engine {

namespace {

double megabytes(int64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

void check_tokens(const std::vector<int32_t>& tokens, const model::Model& model) {
  const std::vector<int32_t> refused = model.refused_tokens();
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= model.num_tokens()) {
      throw UsageError("token {} of the prompt is {}; the model's tokens are 0 to {}", i, tokens[i],
                       model.num_tokens() - 1);
    }
    if (std::ranges::find(refused, tokens[i]) != refused.end()) {
      throw UsageError(
          "token {} of the prompt, {}, stands for a piece of an image, and Lethe reads text only",
          i, tokens[i]);
    }
  }
}

}  // namespace

Sampler make_sampler(const Request& request, const model::Model& model) {
  int64_t num_tokens = model.num_tokens();
  if (request.num_tokens > 0) num_tokens = std::min(num_tokens, request.num_tokens);
  std::vector<int32_t> refused = model.refused_tokens();
  std::erase_if(refused, [num_tokens](int32_t id) { return id >= num_tokens; });
  return Sampler(request.sampling, num_tokens, std::move(refused));
}

void check_request(const Request& request, const model::Model& model,
                   const EngineOptions& options) {
  if (request.prompt.empty()) throw UsageError("the prompt is empty: it needs at least one token");
  if (request.max_tokens < 1) throw UsageError("max_tokens is {}: at least 1", request.max_tokens);
  check_tokens(request.prompt, model);
  make_sampler(request, model);
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t context = model.config().max_position_embeddings;
  if (request.max_tokens > context || prompt > context - request.max_tokens) {
    throw ContextLengthError(
        "This model's maximum context length is {} tokens. However, you requested {} tokens ({} in "
        "the messages, {} in the completion). Please reduce the length of the messages or "
        "completion.",
        context, static_cast<uint64_t>(prompt) + static_cast<uint64_t>(request.max_tokens), prompt,
        request.max_tokens);  // the sum may be more than an int64 holds
  }
  const int64_t bytes = model.new_state().layout().bytes_at(prompt + request.max_tokens);
  if (bytes > options.memory_bytes) {
    throw UsageError(
        "{} tokens of prompt and {} of completion may take {:.1f} MB of memory, more than the "
        "{:.1f} "
        "MB that all requests may take. Ask for a shorter completion, or start Lethe with a larger "
        "--memory.",
        prompt, request.max_tokens, megabytes(bytes), megabytes(options.memory_bytes));
  }
}

}  // namespace lethe::engine
