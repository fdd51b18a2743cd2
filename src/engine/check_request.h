#pragma once

#include "base/error.h"
#include "engine/engine_options.h"
#include "engine/request.h"
#include "model/model.h"

namespace lethe::engine {

/// A prompt and completion that are longer than the model's context.
class ContextLengthError : public UsageError {
 public:
  using UsageError::UsageError;
};

/// The sampler of a request: of the ids that both the request and the model allow. Throws
/// UsageError for parameters out of range.
Sampler make_sampler(const Request& request, const model::Model& model);

/// Refuses what cannot be run at all, whatever else runs. Throws ContextLengthError; UsageError for
/// an empty prompt, ids that the model does not take, sampling parameters out of range, or more
/// memory than the whole budget.
void check_request(const Request& request, const model::Model& model, const EngineOptions& options);

}  // namespace lethe::engine
