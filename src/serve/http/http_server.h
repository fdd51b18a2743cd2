#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "serve/http/http_exchange.h"
#include "serve/http/http_message.h"

namespace lethe::serve {

struct HttpServerOptions {
  /// An address or a name; all addresses of a name are listened on. "0.0.0.0" or "::" for all.
  std::string host = "127.0.0.1";
  uint16_t port = 8000;           ///< 0: any free one
  size_t max_connections = 1024;  ///< further ones are answered with 503
  /// Request line and headers; more is answered with 431.
  size_t max_header_bytes = size_t{32} << 10;
  size_t max_body_bytes = size_t{64} << 20;  ///< more is answered with 413
  /// A connection without a request is closed after this.
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(75);
  /// From a request's first byte to the end of its headers, and from there to the end of its body;
  /// a slower client is answered with 408.
  std::chrono::milliseconds header_timeout = std::chrono::seconds(20);
  std::chrono::milliseconds body_timeout = std::chrono::seconds(300);
  /// A client that takes none of the bytes sent to it for so long is taken to be gone.
  std::chrono::milliseconds write_timeout = std::chrono::seconds(120);
  /// How long `stop` lets running answers go on.
  std::chrono::milliseconds drain_time = std::chrono::seconds(30);
  /// Called on the server's thread when `drain_time` is over, or `stop` is called again: what still
  /// runs should end now, and has kLastWords for it. Without it, connections are closed at once.
  std::function<void()> on_drain_end = {};
  static constexpr std::chrono::milliseconds kLastWords = std::chrono::seconds(5);
  /// Looks at a request before its body is read (`body` is empty): what it returns, a status and a
  /// message, is the answer, the body is not read, and the connection ends. Called on the server's
  /// thread.
  std::function<std::optional<std::pair<int, std::string>>(const HttpRequest&)> refuse_head = {};
  /// Makes the answers that come from the transport itself: malformed or too large requests, and
  /// handlers that threw. Called on the server's thread. Default: `http_error`.
  std::function<HttpResponse(int status, std::string_view message)> error_body = {};
};

/// An HTTP/1.1 server on one thread: keep-alive, pipelining, chunked bodies both ways, HTTP/1.0,
/// HEAD, Expect: 100-continue. No TLS, no HTTP/2: those belong to a proxy in front of it.
class HttpServer {
 public:
  /// Called on the server's thread for each request, so it must not take long: hand the work to
  /// another thread. An exception becomes a 500 (or a broken connection if the answer had begun).
  using Handler = std::function<void(std::shared_ptr<HttpExchange>)>;

  /// Binds and listens; clients can connect from here on, and are served once `run` runs. Throws
  /// Error if the host is unknown or the port is taken or not permitted.
  HttpServer(HttpServerOptions options, Handler handler);
  /// Closes every connection. `run` must have returned. Exchanges may outlive the server: they then
  /// do nothing.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;    ///< the port listened on
  std::string url() const;  ///< where clients on this machine find it: "http://127.0.0.1:8000"

  /// Serves in the calling thread, "the server's thread", until `stop`; then every connection is
  /// closed and every callback that was due has been called. Once only.
  void run();

  /// Any thread, not a signal handler. Accepts no more, closes idle connections at once, and the
  /// others as their answers end or after `drain_time`. A second call does not wait for that, and
  /// a further one (the second, without `on_drain_end`) closes all of them at once.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe::serve
