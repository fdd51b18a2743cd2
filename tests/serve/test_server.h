#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "serve/http/http_server.h"
#include "serve/http_client.h"

namespace lethe::testing {

/// A server on a free port, with a thread of its own that ends with it.
class TestServer {
 public:
  explicit TestServer(serve::HttpServer::Handler handler, serve::HttpServerOptions options = {})
      : server_(on_any_port(std::move(options)), std::move(handler)),
        thread_([this] { server_.run(); }) {}
  ~TestServer() {
    server_.stop();
    server_.stop();  // a test that failed may have left answers open
    join();
  }

  serve::HttpServer& server() { return server_; }
  HttpClient connect() const { return HttpClient(server_.port()); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  static serve::HttpServerOptions on_any_port(serve::HttpServerOptions options) {
    options.port = 0;
    return options;
  }

  serve::HttpServer server_;
  std::thread thread_;
};

/// Hands exchanges from the server's thread to the test's.
class ExchangeQueue {
 public:
  serve::HttpServer::Handler handler() {
    return [this](std::shared_ptr<serve::HttpExchange> exchange) {
      const std::lock_guard lock(mutex_);
      exchanges_.push_back(std::move(exchange));
      arrived_.notify_all();
    };
  }
  std::shared_ptr<serve::HttpExchange> next() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !exchanges_.empty(); });
    auto exchange = std::move(exchanges_.front());
    exchanges_.erase(exchanges_.begin());
    return exchange;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::shared_ptr<serve::HttpExchange>> exchanges_;
};

}  // namespace lethe::testing
