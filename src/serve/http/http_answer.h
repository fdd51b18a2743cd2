#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/http/http_exchange.h"
#include "serve/http/http_message.h"
#include "serve/http/server_loop.h"

namespace lethe::serve {

/// What a connection has to send next.
struct HttpAnswerPart {
  std::optional<HttpResponse> head;    ///< once per answer; has the body if `whole`
  bool whole = false;                  ///< `head` is the whole answer
  std::string body;                    ///< further bytes of the body
  std::optional<std::string> failure;  ///< the handler failed: this is for a 500
  bool last = false;                   ///< nothing follows
  bool broken = false;                 ///< close the connection after this part

  bool empty() const { return !head && body.empty() && !failure && !last && !broken; }
};

/// Where handlers, on any thread, and the connection, on the server's thread, meet: what was
/// answered and not sent yet, and the handler's callbacks. No lock is held while a callback runs.
class HttpAnswer : public std::enable_shared_from_this<HttpAnswer> {
 public:
  /// `wake` is called on the server's thread when `take` would give something new.
  HttpAnswer(HttpRequest request, std::shared_ptr<ServerLoop> loop, std::function<void()> wake);

  /// The handler's view. When it is destroyed, an unfinished answer fails.
  static std::shared_ptr<HttpExchange> exchange(std::shared_ptr<HttpAnswer> answer);

  // Any thread; see HttpExchange.
  const HttpRequest& request() const { return request_; }
  void respond(HttpResponse response);
  void begin(int status, HttpHeaders headers);
  void write(std::string bytes);
  void end();
  void abort();
  void on_disconnect(std::function<void()> callback);
  void after(std::chrono::milliseconds delay, std::function<void()> callback);
  /// The handler cannot answer: a 500 with `message`, or a broken connection if it had begun.
  void fail(std::string message);

  // The server's thread only.
  HttpAnswerPart take();
  bool open() const;  ///< the handler has not finished, and the client is there
  /// The connection is lost: nothing more is sent, and the handler is told if it was not done.
  void disconnected();
  /// All is sent: drops the callbacks. This or `disconnected` must be called.
  void finished();

 private:
  enum class Stage { kWaiting, kStreaming, kEnded, kAborted, kGone };

  bool is_open() const { return stage_ == Stage::kWaiting || stage_ == Stage::kStreaming; }
  void notify(std::unique_lock<std::mutex> lock);
  void call(const std::function<void()>& callback);
  void start_timer(std::chrono::milliseconds delay, std::function<void()> callback);

  const HttpRequest request_;
  const std::shared_ptr<ServerLoop> loop_;
  const std::function<void()> wake_;

  mutable std::mutex mutex_;  // guards the following
  Stage stage_ = Stage::kWaiting;
  HttpAnswerPart next_;
  bool wake_posted_ = false;
  std::vector<std::function<void()>> on_disconnect_;

  std::map<uint64_t, std::shared_ptr<void>> timers_;  // the server's thread only
  uint64_t timers_started_ = 0;
};

}  // namespace lethe::serve
