#pragma once

#include <string>
#include <vector>

#include "text/chat_request.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's
class App;
}

namespace lethe::apps {

/// Options of how an answer is generated (docs/sampling.md).
struct SamplingOptions {
  RequestParameters parameters;
  std::vector<std::string> stop;
  std::string think;  ///< off, on, low, high, max, 1 to 100; empty: the model's default
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);

/// Thinking mode and effort of a request from a word as above. Throws UsageError for any other.
void set_thinking(ChatRequest& request, const std::string& word);

}  // namespace lethe::apps
