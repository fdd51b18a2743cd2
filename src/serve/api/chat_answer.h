#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "serve/api/chat_format.h"
#include "serve/chat_listener.h"
#include "serve/chat_service.h"
#include "serve/http/http_exchange.h"

namespace lethe::serve {

/// How an answer is delivered.
struct ChatAnswerOptions {
  bool stream = false;
  std::chrono::milliseconds silence;  ///< after which the connection is kept awake
  /// Told of the end, on the engine's thread; for the log.
  std::function<void(const ChatResult&)> on_end = {};
};

/// Answers one POST /chat/completions: listens to the engine's thread, writes to the exchange,
/// keeps the connection awake while nothing comes, and cancels the request when the client leaves.
class ChatAnswer : public ChatListener, public std::enable_shared_from_this<ChatAnswer> {
 public:
  /// `service` must outlive the answer.
  ChatAnswer(std::shared_ptr<HttpExchange> exchange, ChatService& service, ChatFormat format,
             ChatAnswerOptions options);
  static std::shared_ptr<ChatAnswer> make(std::shared_ptr<HttpExchange> exchange,
                                          ChatService& service, ChatFormat format,
                                          ChatAnswerOptions options);

  /// The request runs under this id: from here on the client is watched. Called once.
  void started(engine::RequestId id);

  void on_result(const ChatResult& result) noexcept final;

 protected:
  /// The request was accepted, or gave something already.
  virtual void begin() = 0;
  /// Nothing was sent for a while: sends something that means nothing.
  virtual void keep_alive() = 0;
  virtual void finish(const ChatResult& result) = 0;

  void send(std::string bytes);
  HttpExchange& exchange() { return *exchange_; }
  const ChatFormat& format() const { return format_; }
  LogprobsJson& logprobs() { return logprobs_; }

  std::mutex mutex_;  // of everything below and of what subclasses keep

 private:
  void wait_for_silence(std::chrono::milliseconds time);

  std::shared_ptr<HttpExchange> exchange_;
  ChatService& service_;
  ChatFormat format_;
  LogprobsJson logprobs_;
  ChatAnswerOptions options_;
  std::chrono::steady_clock::time_point last_sent_;
  bool ended_ = false;
};

}  // namespace lethe::serve
