#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/task_queue.h"
#include "serve/api/api_error.h"
#include "serve/chat_service.h"
#include "serve/http/http_server.h"

namespace lethe::serve {

struct ApiOptions {
  HttpServerOptions http = {};
  std::string api_key = {};         ///< empty: anybody is served
  bool strict_models = false;       ///< refuse model names that /models does not list
  bool usage_in_own_chunk = false;  ///< OpenAI's form of a stream's end instead of DeepSeek's
  /// An answer that has nothing to say for so long says that it is still there.
  std::chrono::milliseconds silence = std::chrono::seconds(5);
  /// A line about each answered or refused request; any thread.
  std::function<void(const std::string&)> log = {};
};

/// The HTTP API (spec api.md sections 1 to 3): health, models, chat completions. Requests are read
/// and tokenised on a few threads of its own, answered from the engine's.
///
/// A further protocol is one more file of handlers and its lines in routes(); it maps its JSON to a
/// ChatRequest and a ChatListener to its JSON, and touches nothing else.
class ApiServer {
 public:
  /// Binds. Until set_service() all routes that need a model answer 503. Throws Error.
  explicit ApiServer(ApiOptions options);
  ~ApiServer();

  /// From here on requests are served. `service` must outlive run(), and what it still runs ends
  /// with it. Any thread, once.
  void set_service(ChatService& service) { service_ = &service; }

  std::string url() const { return http_.url(); }
  uint16_t port() const { return http_.port(); }
  /// HttpServer::run. When it returns, only answers that the service still runs use it.
  void run() {
    http_.run();
    tasks_.wait_until_idle();
  }
  /// HttpServer::stop. After the drain time, or when called again, answers end with
  /// insufficient_system_resource; a third call closes the connections.
  void stop() { http_.stop(); }

 private:
  using Exchange = std::shared_ptr<HttpExchange>;
  using Handler = void (ApiServer::*)(const Exchange&);
  struct Route {
    std::string_view method;
    std::string_view path;  ///< without the prefixes that all paths may have
    Handler handler;
    bool is_open = false;  ///< needs neither a key nor a model
  };
  static const std::vector<Route>& routes();

  void handle(const Exchange& exchange);
  void dispatch(const Exchange& exchange);
  /// The route of a request; null, and what to answer in `error`, if there is none.
  static const Route* find_route(const HttpRequest& request, ApiError& error);
  void refuse(const Exchange& exchange, const ApiError& error) const;
  void log_refusal(const HttpRequest& request, int status, const std::string& message) const;
  std::optional<std::pair<int, std::string>> check_key(const HttpRequest& head) const;
  HttpServerOptions http_options(HttpServerOptions options);
  bool is_authorized(const HttpRequest& request) const;

  void get_root(const Exchange& exchange);
  void get_health(const Exchange& exchange);
  void get_models(const Exchange& exchange);
  void get_balance(const Exchange& exchange);
  void post_chat_completions(const Exchange& exchange);
  void run_chat(const Exchange& exchange);
  void check_model_name(std::string_view name) const;
  std::vector<std::string> model_names() const;
  Json model_json(const std::string& name) const;
  void log_answer(const HttpRequest& request, const ChatResult& result) const;

  ApiOptions options_;
  std::atomic<ChatService*> service_ = nullptr;
  HttpServer http_;
  TaskQueue tasks_;  // last: its tasks use the rest
};

}  // namespace lethe::serve
