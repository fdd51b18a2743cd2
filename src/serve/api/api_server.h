#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/task_queue.h"
#include "serve/chat_service.h"
#include "serve/http/http_server.h"

namespace lethe::serve {

struct ApiOptions {
  HttpServerOptions http = {};
  std::string api_key;              ///< empty: anybody is served
  bool strict_models = false;       ///< refuse model names that /models does not list
  bool usage_in_own_chunk = false;  ///< OpenAI's form of a stream's end instead of DeepSeek's
  /// A line about each answered request; any thread.
  std::function<void(const std::string&)> log = {};
};

/// The HTTP API (spec api.md sections 1 to 3): health, models, chat completions. Requests are read
/// and tokenised on a few threads of its own, answered from the engine's.
///
/// A further protocol is one more file of handlers and its lines in routes(); it maps its JSON to a
/// ChatRequest and a ChatListener to its JSON, and touches nothing else.
class ApiServer {
 public:
  /// Binds. Until set_service() every request but /health is answered with 503. Throws Error.
  explicit ApiServer(ApiOptions options);
  ~ApiServer();

  /// From here on requests are served. `service` must outlive run(), and what it still runs ends
  /// with it. Any thread, once.
  void set_service(ChatService& service) { service_ = &service; }

  std::string url() const { return http_.url(); }
  uint16_t port() const { return http_.port(); }
  /// HttpServer::run; when it returns, nothing here uses the service any more.
  void run() {
    http_.run();
    tasks_.wait_until_idle();
  }
  void stop() { http_.stop(); }  ///< HttpServer::stop

 private:
  using Exchange = std::shared_ptr<HttpExchange>;
  using Handler = void (ApiServer::*)(const Exchange&);
  struct Route {
    std::string_view method;
    std::string_view path;  ///< without the prefixes that all paths may have
    Handler handler;
    bool needs_key = true;
  };
  static const std::vector<Route>& routes();

  void handle(const Exchange& exchange);
  void dispatch(const Exchange& exchange);
  bool is_authorized(const HttpRequest& request) const;

  void get_root(const Exchange& exchange);
  void get_health(const Exchange& exchange);
  void get_models(const Exchange& exchange);
  void get_balance(const Exchange& exchange);
  void post_chat_completions(const Exchange& exchange);
  void run_chat(const Exchange& exchange);
  void check_model_name(const std::string& name) const;
  std::vector<std::string> model_names() const;
  Json model_json(const std::string& name) const;
  void log_answer(const HttpRequest& request, const ChatResult& result) const;

  ApiOptions options_;
  std::atomic<ChatService*> service_ = nullptr;
  HttpServer http_;
  TaskQueue tasks_;  // last: its tasks use the rest
};

}  // namespace lethe::serve
