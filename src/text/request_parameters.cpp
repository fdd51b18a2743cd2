#include "text/request_parameters.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>

#include "text/request_fields.h"

namespace lethe {
namespace {

constexpr int64_t kMaxTokens = 393'216;
constexpr int64_t kTopLogprobsMax = 20;
constexpr size_t kUserIdMax = 512;

void read_sampling(const Json& body, RequestParameters& out) {
  out.max_tokens = optional_integer(body, "max_tokens", 1, kMaxTokens);
  const auto alias = optional_integer(body, "max_completion_tokens", 1, kMaxTokens);
  if (!out.max_tokens) out.max_tokens = alias;
  out.temperature = optional_number(body, "temperature", 0, 2);
  out.top_p = optional_number(body, "top_p", 0, 1);
  out.top_k = optional_integer(body, "top_k", 0, std::numeric_limits<int32_t>::max());
  out.min_p = optional_number(body, "min_p", 0, 1);
  out.seed = optional_integer(body, "seed", std::numeric_limits<int64_t>::min(),
                              std::numeric_limits<int64_t>::max());
  out.ignore_eos = optional_bool(body, "ignore_eos");
  optional_number(body, "frequency_penalty", -2, 2);
  optional_number(body, "presence_penalty", -2, 2);
  optional_integer(body, "n", 1, 1);
}

void read_logprobs(const Json& body, RequestParameters& out) {
  out.logprobs = optional_bool(body, "logprobs");
  const auto top = optional_integer(body, "top_logprobs", 0, kTopLogprobsMax);
  if (top && !out.logprobs) refuse_request("top_logprobs", "needs logprobs to be true");
  out.top_logprobs = top.value_or(0);
}

void read_stream(const Json& body, RequestParameters& out) {
  out.stream = optional_bool(body, "stream");
  const Json& options = request_member(body, "stream_options");
  if (options.is_null()) return;
  out.include_usage =
      optional_bool(request_object(options, "stream_options"), "include_usage", "stream_options");
  if (!out.stream) refuse_request("stream_options", "needs stream to be true");
}

void read_user(const Json& body, RequestParameters& out) {
  if (!request_member(body, "cache_prompt").is_null()) {
    out.cache_prompt = optional_bool(body, "cache_prompt");
  }
  out.user_id = optional_string(body, "user_id");
  const auto is_allowed = [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '_' || c == '-');
  };
  if (out.user_id.size() > kUserIdMax || !std::ranges::all_of(out.user_id, is_allowed)) {
    refuse_request("user_id",
                   fmt::format("must be up to {} letters, digits, '_' and '-'", kUserIdMax));
  }
}

}  // namespace

RequestParameters parse_request_parameters(const Json& body) {
  request_object(body, "request body");
  RequestParameters out;
  read_sampling(body, out);
  read_logprobs(body, out);
  read_stream(body, out);
  read_user(body, out);
  return out;
}

}  // namespace lethe
