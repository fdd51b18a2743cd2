#include "serve/api/chat_answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/api/api_error.h"
#include "serve/api/api_json.h"

namespace lethe::serve {

namespace {

using Clock = std::chrono::steady_clock;

HttpHeaders json_headers() {
  return {{"Content-Type", "application/json"}};
}

/// Server-sent events.
class StreamedAnswer : public ChatAnswer {
 public:
  using ChatAnswer::ChatAnswer;

  void on_update(ChatUpdate update) override {
    std::lock_guard lock(mutex_);
    begin();
    if (update.token) logprobs().add(*update.token, update.token_is_reasoning);
    std::string bytes;
    for (const StreamEvent& event : update.events) {
      Json delta = format().delta(event);
      if (!delta.is_null()) bytes += sse_data(format().chunk(std::move(delta), logprobs().take()));
    }
    if (!bytes.empty()) send(std::move(bytes));
  }

 private:
  void begin() override {
    if (std::exchange(has_begun_, true)) return;
    exchange().begin(200, {{"Content-Type", "text/event-stream; charset=utf-8"},
                           {"Cache-Control", "no-cache"},
                           {"X-Accel-Buffering", "no"}});
    send(sse_data(format().chunk(format().first_delta())));
  }

  void keep_alive() override { send(": keep-alive\n\n"); }

  void finish(const ChatResult& result) override {
    begin();
    std::string bytes;
    if (!result.failed) {
      for (const Json& chunk : format().last_chunks(result, logprobs().take())) {
        bytes += sse_data(chunk);
      }
      bytes += "data: [DONE]\n\n";
    } else {
      // The headers are out: all that can still be said is said in the stream, which then ends.
      bytes = sse_data(api_error(500, result.error).body());
    }
    send(std::move(bytes));
    exchange().end();
  }

  bool has_begun_ = false;
};

/// One JSON object at the end.
class WholeAnswer : public ChatAnswer {
 public:
  using ChatAnswer::ChatAnswer;

  void on_update(ChatUpdate update) override {
    std::lock_guard lock(mutex_);
    if (update.token) logprobs().add(*update.token, update.token_is_reasoning);
    message_.add(update.events);
  }

 private:
  void begin() override {}

  /// Empty lines before the JSON. The status is out then, so it waits as long as it can.
  void keep_alive() override {
    if (!std::exchange(has_begun_, true)) exchange().begin(200, json_headers());
    send("\n");
  }

  void finish(const ChatResult& result) override {
    const HttpResponse response =
        result.failed ? api_error(500, result.error).response()
                      : json_response(200, message_.response(format(), result, logprobs().take()));
    if (!has_begun_) {
      exchange().respond(response);
      return;
    }
    send(response.body);
    exchange().end();
  }

  ChatMessageBuilder message_;
  bool has_begun_ = false;
};

}  // namespace

std::shared_ptr<ChatAnswer> ChatAnswer::make(std::shared_ptr<HttpExchange> exchange,
                                             ChatService& service, ChatFormat format,
                                             ChatAnswerOptions options) {
  if (options.stream) {
    return std::make_shared<StreamedAnswer>(std::move(exchange), service, std::move(format),
                                            std::move(options));
  }
  return std::make_shared<WholeAnswer>(std::move(exchange), service, std::move(format),
                                       std::move(options));
}

ChatAnswer::ChatAnswer(std::shared_ptr<HttpExchange> exchange, ChatService& service,
                       ChatFormat format, ChatAnswerOptions options)
    : exchange_(std::move(exchange)),
      service_(service),
      format_(std::move(format)),
      logprobs_(service.model().tokenizer()),
      options_(std::move(options)) {}

void ChatAnswer::started(engine::RequestId id) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    begin();
    last_sent_ = Clock::now();
  }
  exchange_->on_disconnect([&service = service_, id] { service.cancel(id); });
  wait_for_silence(options_.silence);
}

/// Clients and proxies give up on a silent connection after minutes, some after less than one (spec
/// api.md section 2.3).
void ChatAnswer::wait_for_silence(std::chrono::milliseconds time) {
  exchange_->after(time, [self = shared_from_this()] {
    const auto silence = self->options_.silence;
    std::chrono::milliseconds quiet;
    {
      std::lock_guard lock(self->mutex_);
      if (self->ended_) return;
      const auto since = [&] { return Clock::now() - self->last_sent_; };
      if (since() >= silence) self->keep_alive();
      quiet = std::chrono::duration_cast<std::chrono::milliseconds>(since());
    }
    self->wait_for_silence(std::max(silence - quiet, std::chrono::milliseconds(1)));
  });
}

void ChatAnswer::send(std::string bytes) {
  last_sent_ = Clock::now();
  exchange_->write(std::move(bytes));
}

void ChatAnswer::on_result(const ChatResult& result) noexcept {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
    try {
      finish(result);
    } catch (const std::exception&) {
      exchange_->abort();  // no memory for its end: the client must not take it for complete
    }
  }
  if (options_.on_end) options_.on_end(result);
}

}  // namespace lethe::serve
