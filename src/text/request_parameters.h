#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json_py.h"

namespace lethe {

/// The longest answer that a request may ask for, in tokens, reasoning included (spec api.md 2.1).
inline constexpr int64_t kMaxOutputTokens = 393'216;

/// What a chat request says about generating and delivering the answer (spec api.md section 2.1);
/// nothing where it says nothing. Penalties have no effect in this API: they are checked and
/// forgotten.
struct RequestParameters {
  std::optional<int64_t> max_tokens;  ///< 1 to kMaxOutputTokens
  std::optional<double> temperature;  ///< 0 to 2
  std::optional<double> top_p;        ///< 0 to 1
  std::optional<int64_t> top_k;       ///< local extension; 0 means all
  std::optional<double> min_p;        ///< local extension
  std::optional<int64_t> seed;
  std::vector<std::pair<int32_t, float>> logit_bias;  ///< (id >= 0, -100 to 100), at most 1024
  bool ignore_eos = false;                            ///< local extension
  bool logprobs = false;
  int64_t top_logprobs = 0;  ///< 0 to 20
  bool stream = false;
  bool include_usage = false;  ///< in every chunk of a stream
  bool cache_prompt = true;    ///< local extension: resume from what is cached, and leave some
  std::string user_id;         ///< separates the caches of users
};

/// Reads them from the body of POST /chat/completions. Throws RequestError.
RequestParameters parse_request_parameters(const Json& body);

}  // namespace lethe
