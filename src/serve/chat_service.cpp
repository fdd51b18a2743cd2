#include "serve/chat_service.h"

#include <algorithm>
#include <random>
#include <utility>

#include "text/detokenizer.h"
#include "text/prompt_texts.h"
#include "text/request_renderer.h"

namespace lethe::serve {

namespace {

// Without max_tokens (spec api.md section 2.1): what DeepSeek's own server library asks for.
constexpr int64_t kDefaultMaxTokensChat = 8'192;
constexpr int64_t kDefaultMaxTokensThinking = 65'536;

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

/// Turns sampled tokens into what a ChatListener hears.
class ChatSink : public engine::RequestSink {
 public:
  ChatSink(const Tokenizer& tokenizer, StreamParserOptions parser, bool logprobs,
           std::shared_ptr<ChatListener> listener)
      : detokenizer_(tokenizer),
        parser_(std::move(parser)),
        logprobs_(logprobs),
        listener_(std::move(listener)) {}

  void on_prefill(int64_t done, int64_t total, int64_t cached) override {
    listener_->on_prefill(done, total, cached);
  }

  bool on_token(const engine::SampledToken& token) override {
    ChatUpdate update;
    update.token_is_reasoning = parser_.in_reasoning();
    if (update.token_is_reasoning) ++reasoning_tokens_;
    if (logprobs_) update.token = token;
    parser_.feed(detokenizer_.push(token.id), update.events);
    if (!update.events.empty() || update.token) listener_->on_update(std::move(update));
    return !parser_.done();
  }

  void on_finish(const engine::Outcome& outcome) noexcept override {
    ChatResult result;
    static_cast<engine::Usage&>(result.usage) = outcome.usage;
    result.usage.reasoning_tokens = reasoning_tokens_;
    result.error = outcome.error;
    result.failed = outcome.reason == engine::StopReason::failed;
    result.cancelled = outcome.reason == engine::StopReason::cancelled;
    try {
      end_text(outcome.reason, result);
    } catch (const std::exception& error) {
      result.failed = true;
      result.error = error.what();
    }
    listener_->on_result(result);
  }

 private:
  void end_text(engine::StopReason reason, ChatResult& result) {
    using engine::StopReason;
    ChatUpdate update;
    parser_.feed(detokenizer_.finish(), update.events);
    const bool by_model = reason == StopReason::stop_token || reason == StopReason::sink;
    const StreamFinish finish =
        parser_.finish(by_model ? FinishReason::stop : FinishReason::length, update.events);
    if (!update.events.empty()) listener_->on_update(std::move(update));
    result.num_unfinished_calls = finish.num_unfinished_calls;
    result.stop_sequence = finish.stop_sequence;
    if (!by_model && reason != StopReason::length) {
      result.finish_reason = "insufficient_system_resource";
      if (result.error.empty() && reason == StopReason::shutdown) {
        result.error = "Lethe was shut down before the answer was complete.";
      }
    } else {
      result.finish_reason = finish.reason == FinishReason::stop     ? "stop"
                             : finish.reason == FinishReason::length ? "length"
                                                                     : "tool_calls";
    }
  }

  Detokenizer detokenizer_;
  StreamParser parser_;
  bool logprobs_;
  std::shared_ptr<ChatListener> listener_;
  int64_t reasoning_tokens_ = 0;
};

engine::SamplingParams sampling_of(const RequestParameters& parameters) {
  return {.temperature = parameters.temperature.value_or(1),
          .top_p = parameters.top_p.value_or(1),
          .top_k = parameters.top_k.value_or(0),
          .min_p = parameters.min_p.value_or(0),
          .seed = parameters.seed ? static_cast<uint64_t>(*parameters.seed) : random_seed(),
          .logit_bias = parameters.logit_bias,
          .logprobs = parameters.logprobs,
          .top_logprobs = parameters.top_logprobs};
}

}  // namespace

ChatService::ChatService(ServedModel& model, const engine::EngineOptions& options,
                         std::function<void()> check)
    : model_(model), engine_(model.model(), options, [&model, check = std::move(check)] {
        model.checkpoint().check_unchanged();
        if (check) check();
      }) {}

/// As many as are asked for where nobody asked: within the context and the memory there is.
int64_t ChatService::default_max_tokens(int64_t prompt_tokens, int64_t wanted) const {
  int64_t tokens = std::min(wanted, model_.context_length() - prompt_tokens);
  const model::StateLayout layout = model_.model().new_state().layout();
  while (tokens > 1 && layout.bytes_at(prompt_tokens + tokens) > engine_.options().memory_bytes) {
    tokens /= 2;
  }
  return std::max<int64_t>(1, tokens);
}

engine::Request ChatService::make_request(std::vector<int32_t> prompt,
                                          const RequestParameters& parameters,
                                          int64_t wanted_tokens) const {
  engine::Request request;
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  request.prompt = std::move(prompt);
  request.sampling = sampling_of(parameters);
  request.max_tokens = parameters.max_tokens ? *parameters.max_tokens
                                             : default_max_tokens(prompt_tokens, wanted_tokens);
  request.num_tokens = model_.tokenizer().size();
  if (!parameters.ignore_eos) request.stop_tokens = model_.end_tokens();
  request.cache_scope = parameters.user_id;
  request.use_prefix_cache = parameters.cache_prompt;
  engine::check_request(request, model_.model(), engine_.options());
  return request;
}

PreparedRequest ChatService::prepare(const ChatRequest& request) const {
  if (!request.images.empty()) {
    throw RequestError(400, "messages: images need the vision tower, which Lethe does not run");
  }
  RenderedRequest rendered = render_request(request, model_.profile());
  const int64_t wanted = rendered.thinking ? kDefaultMaxTokensThinking : kDefaultMaxTokensChat;
  return {.request = make_request(model_.encode(rendered.prompt), request.parameters, wanted),
          .parser = std::move(rendered.parser),
          .thinking = rendered.thinking};
}

PreparedRequest ChatService::prepare(const TextRequest& request) const {
  Prompt prompt;
  if (request.begin_of_sentence) prompt.add_template(prompt_texts::kBos);
  prompt.add_client(request.text);
  PreparedRequest prepared;
  prepared.request = make_request(model_.encode(prompt), request.parameters, kDefaultMaxTokensChat);
  // All of what comes is the answer, newlines at its beginning included.
  prepared.parser.continues_text = true;
  prepared.parser.parse_tools = false;
  prepared.parser.stop = request.stop;
  return prepared;
}

engine::RequestId ChatService::start(PreparedRequest prepared,
                                     std::shared_ptr<ChatListener> listener) {
  const bool logprobs = prepared.request.sampling.logprobs;
  auto sink = std::make_shared<ChatSink>(model_.tokenizer(), std::move(prepared.parser), logprobs,
                                         std::move(listener));
  return engine_.submit(std::move(prepared.request), std::move(sink));
}

}  // namespace lethe::serve
