#include "text/request_parameters.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "text/request_fields.h"

namespace lethe {
namespace {

constexpr int64_t kTopLogprobsMax = 20;
constexpr size_t kUserIdMax = 512;
constexpr size_t kBiasesMax = 1024;
constexpr double kBiasMax = 100;

void read_sampling(const Json& body, RequestParameters& out) {
  out.max_tokens = optional_integer(body, "max_tokens", 1, kMaxOutputTokens);
  const auto alias = optional_integer(body, "max_completion_tokens", 1, kMaxOutputTokens);
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

/// A key of logit_bias: decimal, without sign or leading zeros, so that no token is named twice.
int32_t read_token_id(const std::string& key, const std::string& place) {
  int32_t id = 0;
  const char* const end = key.data() + key.size();
  const auto [stop, error] = std::from_chars(key.data(), end, id);
  const bool is_plain = !key.empty() && key[0] != '-' && (key[0] != '0' || key.size() == 1);
  if (!is_plain || error != std::errc() || stop != end) {
    refuse_request(place, "must be a token id: a decimal number from 0");
  }
  return id;
}

/// Which ids the model has is for the sampler to check.
void read_logit_bias(const Json& body, RequestParameters& out) {
  const Json& biases = request_member(body, "logit_bias");
  if (biases.is_null()) return;
  request_object(biases, "logit_bias");
  if (biases.size() > kBiasesMax) {
    refuse_request("logit_bias",
                   fmt::format("{} entries, at most {} are allowed", biases.size(), kBiasesMax));
  }
  for (const auto& [key, value] : biases.items()) {
    const std::string place = fmt::format("logit_bias[{}]", dump_json(Json(key)));
    const int32_t id = read_token_id(key, place);
    // Integers too large for any number type are held as digits.
    if (!value.is_number() && !value.is_binary()) refuse_request(place, "must be a number", 422);
    const double bias = value.is_binary() ? HUGE_VAL : value.get<double>();
    if (!(bias >= -kBiasMax && bias <= kBiasMax)) {
      refuse_request(place, fmt::format("{} is out of range: {} to {}", dump_json(value), -kBiasMax,
                                        kBiasMax));
    }
    out.logit_bias.emplace_back(id, static_cast<float>(bias));
  }
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
  read_logit_bias(body, out);
  read_logprobs(body, out);
  read_stream(body, out);
  read_user(body, out);
  return out;
}

}  // namespace lethe
