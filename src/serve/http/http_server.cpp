#include "serve/http/http_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <mutex>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "serve/http/http_connection.h"

namespace lethe::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

// Between two tries to accept when the process has no file descriptor left.
constexpr std::chrono::milliseconds kAcceptBackoff(100);
// Connections over the limit that may wait for their 503; further ones are closed without a word.
constexpr size_t kMaxRefusals = 64;

class AsioLoop final : public ServerLoop {
 public:
  explicit AsioLoop(asio::io_context& context) : context_(&context) {}

  void post(std::function<void()> task) override {
    // Where the loop is gone, the task dies after the lock: its destructor may post.
    const std::lock_guard lock(mutex_);
    if (context_ != nullptr) asio::post(*context_, std::move(task));
  }

  std::shared_ptr<void> start_timer(std::chrono::milliseconds delay,
                                    std::function<void()> task) override {
    auto timer = std::make_shared<asio::steady_timer>(*context_, delay);
    timer->async_wait([call = std::move(task)](ErrorCode error) {
      if (!error) call();
    });
    return timer;
  }

  void close() {
    const std::lock_guard lock(mutex_);
    context_ = nullptr;
  }

 private:
  std::mutex mutex_;
  asio::io_context* context_;
};

std::string shown(const std::string& host, uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}:{}", v6 ? "[" + host + "]" : host, port);
}

[[noreturn]] void throw_bind_error(const std::string& host, uint16_t port, ErrorCode error) {
  const std::string where = shown(host, port);
  if (error == asio::error::address_in_use) {
    throw Error(
        "cannot listen on {}: another program uses this port. Stop it, or choose another port "
        "(0 takes any free one).",
        where);
  }
  if (error == asio::error::access_denied) {
    throw Error(
        "cannot listen on {}: permission denied. Ports below 1024 belong to the administrator: "
        "choose a port from 1024 on.",
        where);
  }
  if (error == boost::system::errc::address_not_available) {
    throw Error(
        "cannot listen on {}: this machine has no such address. Use one of its own, 127.0.0.1 for "
        "this machine only, or 0.0.0.0 for all of its networks.",
        where);
  }
  throw Error("cannot listen on {}: {}. Choose another host or port.", where, error.message());
}

std::vector<tcp::endpoint> resolve(asio::io_context& io, const std::string& host, uint16_t port) {
  ErrorCode error;
  const auto results = tcp::resolver(io).resolve(
      host, std::to_string(port), tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || results.empty()) {
    throw Error(
        "cannot listen on host \"{}\": {}. Give an address or a name of this machine, such as "
        "127.0.0.1, 0.0.0.0, ::1 or localhost.",
        host, error.message());
  }
  std::vector<tcp::endpoint> endpoints;
  for (const auto& result : results) {
    const tcp::endpoint endpoint = result.endpoint();
    if (std::find(endpoints.begin(), endpoints.end(), endpoint) == endpoints.end()) {
      endpoints.push_back(endpoint);
    }
  }
  return endpoints;
}

ErrorCode listen(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (error) return error;
  acceptor.bind(endpoint, error);
  if (error) return error;
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  return error;
}

// A name's address of a protocol that this machine does not speak is no reason to give up.
bool may_be_missing(ErrorCode error) {
  return error == boost::system::errc::address_not_available ||
         error == boost::system::errc::address_family_not_supported;
}

std::string without_brackets(std::string host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

}  // namespace

// The order of the members is the reverse of their destruction: connections die with `io`.
struct HttpServer::Impl {
  struct Listener {
    explicit Listener(asio::io_context& io) : acceptor(io), backoff(io) {}
    tcp::acceptor acceptor;
    asio::steady_timer backoff;
  };

  Impl(HttpServerOptions options, Handler handler)
      : service{.options = std::move(options),
                .handler = std::move(handler),
                .loop = nullptr,
                .draining = false,
                .on_closed = [this](HttpConnection* connection) { forget(connection); }},
        loop(std::make_shared<AsioLoop>(io)),
        drain_timer(io) {
    service.loop = loop;
    open_listeners(without_brackets(service.options.host));
  }

  ~Impl() {
    close_all();
    loop->close();
  }

  void open_listeners(const std::string& host) {
    uint16_t port = service.options.port;
    ErrorCode last_error;
    for (tcp::endpoint endpoint : resolve(io, host, port)) {
      endpoint.port(port);
      auto listener = std::make_unique<Listener>(io);
      last_error = listen(listener->acceptor, endpoint);
      if (last_error && !may_be_missing(last_error)) throw_bind_error(host, port, last_error);
      if (last_error) continue;
      if (listeners.empty()) first_endpoint = listener->acceptor.local_endpoint();
      port = first_endpoint.port();  // the same for a name's other addresses
      listeners.push_back(std::move(listener));
    }
    if (listeners.empty()) throw_bind_error(host, port, last_error);
  }

  void accept(Listener& listener) {
    listener.acceptor.async_accept([this, &listener](ErrorCode error, tcp::socket socket) {
      if (service.draining) return;
      if (!error) {
        admit(std::move(socket));
      } else if (error != asio::error::connection_aborted) {
        // No descriptors or memory: the connection stays in the queue and would fail again at once.
        listener.backoff.expires_after(kAcceptBackoff);
        listener.backoff.async_wait([this, &listener](ErrorCode cancelled) {
          if (!cancelled && !service.draining) accept(listener);
        });
        return;
      }
      accept(listener);
    });
  }

  void admit(tcp::socket socket) {
    const size_t limit = service.options.max_connections;
    if (connections.size() >= limit + kMaxRefusals) return;
    const auto connection = std::make_shared<HttpConnection>(std::move(socket), service);
    const bool full = connections.size() >= limit;
    connections.emplace(connection.get());
    full ? connection->refuse() : connection->start();
  }

  void forget(HttpConnection* connection) {
    connections.erase(connection);
    if (connections.empty()) drain_timer.cancel();
  }

  // A copy: what a connection's closing calls may end another.
  std::vector<std::shared_ptr<HttpConnection>> open_connections() const {
    std::vector<std::shared_ptr<HttpConnection>> open;
    for (HttpConnection* connection : connections) open.push_back(connection->shared_from_this());
    return open;
  }

  void close_all() {
    for (const auto& connection : open_connections()) connection->close();
  }

  void begin_stop() {
    if (service.draining) {
      end_drain();
      return;
    }
    service.draining = true;
    for (const auto& listener : listeners) {
      ErrorCode ignored;
      listener->acceptor.close(ignored);
      listener->backoff.cancel();
    }
    for (const auto& connection : open_connections()) connection->drain();
    if (connections.empty()) return;
    end_drain_after(service.options.drain_time);
  }

  void end_drain_after(std::chrono::milliseconds time) {
    drain_timer.expires_after(time);
    drain_timer.async_wait([this](ErrorCode cancelled) {
      if (!cancelled) end_drain();
    });
  }

  void end_drain() {
    const auto& last_words = service.options.on_drain_end;
    if (!last_words || std::exchange(drain_ended, true)) {
      close_all();
      return;
    }
    if (!connections.empty()) end_drain_after(HttpServerOptions::kLastWords);
    last_words();
  }

  std::unordered_set<HttpConnection*> connections;  // kept alive by their coroutines
  HttpService service;
  asio::io_context io{1};
  std::shared_ptr<AsioLoop> loop;
  asio::steady_timer drain_timer;
  bool drain_ended = false;  // `on_drain_end` was called
  std::vector<std::unique_ptr<Listener>> listeners;
  tcp::endpoint first_endpoint;
};

HttpServer::HttpServer(HttpServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {}

HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const {
  return impl_->first_endpoint.port();
}

std::string HttpServer::url() const {
  const auto address = impl_->first_endpoint.address();
  std::string host = address.to_string();
  if (address.is_unspecified()) host = address.is_v6() ? "::1" : "127.0.0.1";
  return "http://" + shown(host, port());
}

void HttpServer::run() {
  for (const auto& listener : impl_->listeners) impl_->accept(*listener);
  impl_->io.run();
}

void HttpServer::stop() {
  impl_->loop->post([impl = impl_.get()] { impl->begin_stop(); });
}

}  // namespace lethe::serve
