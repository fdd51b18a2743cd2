#include "apps/sampling_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"

namespace lethe::apps {

namespace {

/// "ID=BIAS".
std::pair<int32_t, float> parse_bias(const std::string& text) {
  const size_t equals = text.find('=');
  int32_t id = -1;
  float bias = 0;
  const char* end = text.data() + text.size();
  const auto id_end = std::from_chars(text.data(), text.data() + std::min(equals, text.size()), id);
  bool good = equals != std::string::npos && id_end.ec == std::errc() &&
              id_end.ptr == text.data() + equals && id >= 0;
  if (good) {
    const auto bias_end = std::from_chars(text.data() + equals + 1, end, bias);
    good = bias_end.ec == std::errc() && bias_end.ptr == end && bias >= -100 && bias <= 100;
  }
  if (!good) {
    throw UsageError("--logit-bias {}: expected ID=BIAS, a token id and a number from -100 to 100",
                     text);
  }
  return {id, bias};
}

}  // namespace

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  RequestParameters& p = options.parameters;
  command.add_option("--think", options.think,
                     "off, on, low, high, max, or (V4.1) 1 to 100 (default: on)");
  command
      .add_option("-n,--max-tokens", p.max_tokens, "Tokens to generate at most, thinking included")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command.add_option("-t,--temperature", p.temperature, "0: always the best token (default: 1)")
      ->check(CLI::Range(0.0, 2.0));
  command.add_option("--top-p", p.top_p, "Only the best tokens that hold this much (default: 1)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--top-k", p.top_k, "Only so many best tokens (default: all)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 31));
  command
      .add_option("--min-p", p.min_p,
                  "Only tokens at least so probable, as a share of the best one (default: 0)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--seed", p.seed, "Same seed, same text (default: another one every time)");
  command.add_option("--stop", options.stop, "End the answer before this text; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [&p](const std::vector<std::string>& words) {
            for (const std::string& word : words) p.logit_bias.push_back(parse_bias(word));
          },
          "ID=BIAS: add to a token's logit; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", p.ignore_eos, "Go on when the model ends its turn");
}

void set_thinking(ChatRequest& request, const std::string& word) {
  request.effort.emplace<std::monostate>();
  if (word.empty() || word == "on") {
    request.thinking = true;
  } else if (word == "off") {
    request.thinking = false;
  } else {
    int64_t number = 0;
    const auto end = std::from_chars(word.data(), word.data() + word.size(), number);
    const bool is_number = end.ec == std::errc() && end.ptr == word.data() + word.size();
    if (!is_number && word != "low" && word != "high" && word != "max") {
      throw UsageError(
          "thinking '{}': it is off, on, low, high, max, or (V4.1) a number from 1 to "
          "100",
          word);
    }
    request.thinking = true;
    if (is_number) {
      request.effort.emplace<int64_t>(number);
    } else {
      request.effort.emplace<std::string>(word);
    }
  }
}

}  // namespace lethe::apps
