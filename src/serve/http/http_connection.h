#pragma once

// Includes Boost, so only http_connection.cpp and http_server.cpp may include this.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "serve/http/http_answer.h"
#include "serve/http/http_head.h"
#include "serve/http/http_server.h"
#include "serve/http/request_parser.h"

namespace lethe::serve {

class HttpConnection;

/// What connections share. Outlives them.
struct HttpService {
  const HttpServerOptions options;
  const HttpServer::Handler handler;
  std::shared_ptr<ServerLoop> loop;
  bool draining = false;                           ///< every answer is a connection's last
  std::function<void(HttpConnection*)> on_closed;  ///< a connection has ended
};

/// One client's connection: reads a request, waits for its answer while watching whether the client
/// stays, and so on. All of it on the server's thread.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, HttpService& service);

  void start();   ///< serves requests until the connection ends
  void refuse();  ///< says 503 and closes
  void drain();   ///< closes unless a request is being answered
  void close();   ///< closes at once; a request that is being answered is told

 private:
  template <typename T>
  using Awaitable = boost::asio::awaitable<T>;
  using ErrorCode = boost::system::error_code;

  // How the answer to the current request is sent.
  struct Framing {
    bool keep_alive = true;
    bool http_1_0 = false;
    bool head_only = false;
    BodyFraming body = BodyFraming::kNone;
  };

  void spawn(Awaitable<void> (HttpConnection::*body)());
  Awaitable<void> serve();
  Awaitable<void> serve_refusal();

  Awaitable<std::optional<HttpRefusal>> read_request();
  Awaitable<std::optional<HttpRefusal>> read_body();
  HttpRefusal read_refusal(ErrorCode error) const;
  std::optional<HttpRefusal> handler_refusal() const;

  Awaitable<bool> answer(HttpRequest request);
  void call_handler();
  Awaitable<bool> send(HttpAnswerPart part);
  Awaitable<bool> send_refusal(HttpRefusal refusal);
  Awaitable<bool> write(std::string first, std::string second, std::string third);
  HttpResponse error_response(int status, const std::string& message) const;
  std::string compose(const HttpResponse& response, bool whole);
  Awaitable<void> linger(bool wait_for_input);

  void set_deadline(std::chrono::milliseconds time);
  void clear_deadline();
  void watch();
  void check_client();
  bool unread_input();

  boost::asio::ip::tcp::socket socket_;
  HttpService& service_;
  const std::string peer_;
  boost::beast::flat_buffer buffer_;
  std::optional<RequestParser> parser_;
  std::shared_ptr<HttpAnswer> answer_;  // while a request is being answered
  Framing framing_;
  boost::asio::steady_timer deadline_;  // of what the coroutine waits for; cancels it
  bool timed_out_ = false;
  boost::asio::steady_timer wake_;         // cancelled when answer_ has something to send
  boost::asio::steady_timer watch_timer_;  // looks again whether the client is there
  bool watching_ = false;                  // a wait for the socket to become readable is under way
};

}  // namespace lethe::serve
