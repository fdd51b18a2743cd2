#include "serve/http/http_connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_suffix.hpp>
#include <boost/beast/http/read.hpp>
#include <exception>
#include <utility>

namespace lethe::serve {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::use_awaitable;

// A client that has sent more than one request hides its leaving behind the unread bytes, so that
// the socket has to be asked again and again.
constexpr std::chrono::milliseconds kWatchInterval(50);
// How long a connection that ends is read from, so that the last answer is not lost with a reset.
constexpr std::chrono::milliseconds kLinger(2000);
constexpr size_t kReadBytes = size_t{16} << 10;

enum class ClientState { kSilent, kHasSent, kGone };

ClientState client_state(int fd) {
  pollfd entry{.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
  if (::poll(&entry, 1, 0) <= 0) return ClientState::kSilent;
  if ((entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0) return ClientState::kGone;
  return ClientState::kHasSent;
}

std::string peer_name(const asio::ip::tcp::socket& socket) {
  boost::system::error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  const auto address = endpoint.address();
  const std::string host = address.to_string();
  return fmt::format("{}:{}", address.is_v6() ? "[" + host + "]" : host, endpoint.port());
}

bool has_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

}  // namespace

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, HttpService& service)
    : socket_(std::move(socket)),
      service_(service),
      peer_(peer_name(socket_)),
      buffer_(service.options.max_header_bytes + kReadBytes),
      deadline_(socket_.get_executor()),
      wake_(socket_.get_executor()),
      watch_timer_(socket_.get_executor()) {
  ErrorCode ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  // A client that vanishes without a word acknowledges nothing.
  const auto limit_ms = static_cast<unsigned>(service.options.write_timeout.count());
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

// In the coroutines below, what a co_await passes on is a variable, not a temporary: g++ 12
// destroys some temporaries of such expressions twice.

// The coroutine keeps the connection alive; an exception in it (memory) ends this connection only.
void HttpConnection::spawn(Awaitable<void> (HttpConnection::*body)()) {
  asio::co_spawn(
      socket_.get_executor(), [self = shared_from_this(), body] { return (*self.*body)(); },
      [self = shared_from_this()](const std::exception_ptr&) {
        self->close();
        self->service_.on_closed(self.get());
      });
}

void HttpConnection::start() {
  spawn(&HttpConnection::serve);
}

void HttpConnection::refuse() {
  spawn(&HttpConnection::serve_refusal);
}

void HttpConnection::drain() {
  if (!answer_) close();
}

void HttpConnection::close() {
  if (answer_) answer_->disconnected();
  ErrorCode ignored;
  socket_.close(ignored);
  deadline_.cancel();
  wake_.cancel();
  watch_timer_.cancel();
}

HttpConnection::Awaitable<void> HttpConnection::serve() {
  for (;;) {
    std::optional<HttpRefusal> refusal = co_await read_request();
    bool again = false;
    if (refusal) {
      if (refusal->status == 0) co_return;
      again = co_await send_refusal(std::move(*refusal));
    } else {
      HttpRequest request = take_request(*parser_, peer_);
      again = co_await answer(std::move(request));
    }
    if (!again) {
      co_await linger(refusal.has_value());
      co_return;
    }
  }
}

HttpConnection::Awaitable<void> HttpConnection::serve_refusal() {
  HttpRefusal refusal{503,
                      fmt::format("The server has {} connections, which is its limit. Try again "
                                  "later, or raise the limit.",
                                  service_.options.max_connections)};
  co_await send_refusal(std::move(refusal));
  co_await linger(true);
}

// ---- reading

HttpConnection::Awaitable<std::optional<HttpRefusal>> HttpConnection::read_request() {
  ErrorCode error;
  if (buffer_.size() == 0) {
    set_deadline(service_.options.idle_timeout);
    const size_t bytes = co_await socket_.async_read_some(
        buffer_.prepare(kReadBytes), asio::redirect_error(use_awaitable, error));
    if (error) co_return HttpRefusal{};  // left, or had nothing to ask
    buffer_.commit(bytes);
  }
  // The first byte of a TLS handshake, which no method begins with.
  if (*static_cast<const char*>(buffer_.data().data()) == 0x16) {
    co_return HttpRefusal{
        400,
        "This port speaks HTTP without TLS, and the client began a TLS handshake. Use "
        "http:// instead of https://."};
  }
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(service_.options.max_header_bytes));
  parser_->body_limit(service_.options.max_body_bytes);
  set_deadline(service_.options.header_timeout);
  co_await http::async_read_header(socket_, buffer_, *parser_,
                                   asio::redirect_error(use_awaitable, error));
  if (error) co_return read_refusal(error);
  if (std::optional<HttpRefusal> wrong = header_refusal(*parser_)) co_return wrong;
  if (std::optional<HttpRefusal> unwanted = handler_refusal()) co_return unwanted;
  if (parser_->is_done()) co_return std::nullopt;
  std::optional<HttpRefusal> refusal = co_await read_body();
  co_return refusal;
}

HttpConnection::Awaitable<std::optional<HttpRefusal>> HttpConnection::read_body() {
  const auto expect = parser_->get().find(http::field::expect);
  const bool wants_continue = expect != parser_->get().end() && parser_->get().version() >= 11;
  if (wants_continue && buffer_.size() == 0) {
    std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    std::string none;
    const bool written = co_await write(std::move(go_on), none, none);
    if (!written) co_return HttpRefusal{};
  }
  ErrorCode error;
  set_deadline(service_.options.body_timeout);
  co_await http::async_read(socket_, buffer_, *parser_, asio::redirect_error(use_awaitable, error));
  if (error) co_return read_refusal(error);
  co_return std::nullopt;
}

std::optional<HttpRefusal> HttpConnection::handler_refusal() const {
  if (!service_.options.refuse_head) return std::nullopt;
  auto refusal = service_.options.refuse_head(request_head(*parser_, peer_));
  if (!refusal) return std::nullopt;
  return HttpRefusal{refusal->first, std::move(refusal->second)};
}

HttpRefusal HttpConnection::read_refusal(ErrorCode error) const {
  if (timed_out_) return {408, "The request did not arrive in time. Send it again, faster."};
  return refusal_for(error, *parser_, service_.options);
}

// ---- answering

HttpConnection::Awaitable<bool> HttpConnection::answer(HttpRequest request) {
  framing_ = {.keep_alive = parser_->get().keep_alive(),
              .http_1_0 = parser_->get().version() < 11,
              .head_only = request.method == "HEAD",
              .body = BodyFraming::kNone};
  parser_.reset();
  answer_ =
      std::make_shared<HttpAnswer>(std::move(request), service_.loop, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->wake_.cancel();
      });
  call_handler();
  watch();
  clear_deadline();  // the handler takes its time
  bool sent = true;
  bool last = false;
  while (sent && !last) {
    HttpAnswerPart part = answer_->take();
    if (part.empty()) {
      ErrorCode cancelled;
      wake_.expires_at(asio::steady_timer::time_point::max());
      co_await wake_.async_wait(asio::redirect_error(use_awaitable, cancelled));
      continue;
    }
    last = part.last;
    sent = co_await send(std::move(part));
  }
  watch_timer_.cancel();
  const auto answer = std::exchange(answer_, nullptr);
  if (sent) {
    answer->finished();
  } else {
    answer->disconnected();
  }
  const bool again = sent && framing_.keep_alive && !service_.draining;
  co_return again;
}

void HttpConnection::call_handler() {
  const auto exchange = HttpAnswer::exchange(answer_);  // outlives an exception, whose text counts
  try {
    service_.handler(exchange);
  } catch (const std::exception& error) {
    answer_->fail(error.what());
  } catch (...) {
    answer_->fail("unknown exception");
  }
}

// False if the connection must not be used any more.
HttpConnection::Awaitable<bool> HttpConnection::send(HttpAnswerPart part) {
  std::string head;
  if (part.failure) {
    part.head = error_response(
        500, fmt::format("The server failed to answer this request: {}.", *part.failure));
    part.whole = true;
  }
  if (part.head) {
    if (const std::string fault = header_fault(part.head->headers); !fault.empty()) {
      part = {};
      part.head = http_error(500, fmt::format("The server made a wrong answer: {}.", fault));
      part.whole = true;
      part.broken = true;  // and `disconnected` tells the handler if it wants to go on
      framing_.keep_alive = false;
    }
    head = compose(*part.head, part.whole);
    if (part.whole && !framing_.head_only && has_body(part.head->status)) {
      part.body = std::move(part.head->body);
    }
  }
  if (framing_.body == BodyFraming::kNone) part.body.clear();
  std::string tail;
  if (framing_.body == BodyFraming::kChunked) {
    if (!part.body.empty()) {
      head += fmt::format("{:x}\r\n", part.body.size());
      tail = "\r\n";
    }
    if (part.last) tail += "0\r\n\r\n";
  }
  const bool written = co_await write(std::move(head), std::move(part.body), std::move(tail));
  co_return written && !part.broken;
}

HttpConnection::Awaitable<bool> HttpConnection::send_refusal(HttpRefusal refusal) {
  framing_ = {.keep_alive = false, .http_1_0 = false, .head_only = false, .body = {}};
  HttpAnswerPart part;
  part.head = error_response(refusal.status, refusal.message);
  part.whole = true;
  part.last = true;
  part.broken = true;
  const bool sent = co_await send(std::move(part));
  co_return sent;
}

// Three pieces in one system call where the socket takes them.
HttpConnection::Awaitable<bool> HttpConnection::write(std::string first, std::string second,
                                                      std::string third) {
  const std::array<asio::const_buffer, 3> pieces = {asio::buffer(first), asio::buffer(second),
                                                    asio::buffer(third)};
  boost::beast::buffers_suffix<std::array<asio::const_buffer, 3>> rest(pieces);
  size_t left = first.size() + second.size() + third.size();
  while (left > 0) {
    ErrorCode error;
    set_deadline(service_.options.write_timeout);
    const size_t bytes =
        co_await socket_.async_write_some(rest, asio::redirect_error(use_awaitable, error));
    if (error) co_return false;
    rest.consume(bytes);
    left -= bytes;
  }
  clear_deadline();
  co_return true;
}

HttpResponse HttpConnection::error_response(int status, const std::string& message) const {
  const auto& make = service_.options.error_body;
  return make ? make(status, message) : http_error(status, message);
}

std::string HttpConnection::compose(const HttpResponse& response, bool whole) {
  if (service_.draining) framing_.keep_alive = false;
  if (!has_body(response.status)) {
    framing_.body = BodyFraming::kNone;
  } else if (whole) {
    framing_.body = BodyFraming::kLength;
  } else if (!framing_.http_1_0) {
    framing_.body = BodyFraming::kChunked;
  } else {
    framing_.body = BodyFraming::kUntilClose;
    framing_.keep_alive = false;
  }
  std::string head = http_head({.status = response.status,
                                .headers = response.headers,
                                .framing = framing_.body,
                                .content_length = response.body.size(),
                                .keep_alive = framing_.keep_alive,
                                .http_1_0 = framing_.http_1_0});
  if (framing_.head_only) framing_.body = BodyFraming::kNone;
  return head;
}

// Closing a socket with unread input resets the connection, and a reset destroys what the client
// has not read yet. So: say that no more comes, and let the client finish.
HttpConnection::Awaitable<void> HttpConnection::linger(bool wait_for_input) {
  ErrorCode error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (error || !(wait_for_input || unread_input())) co_return;
  set_deadline(kLinger);
  buffer_.clear();
  while (!error) {
    co_await socket_.async_read_some(buffer_.prepare(kReadBytes),
                                     asio::redirect_error(use_awaitable, error));
  }
}

// One deadline at a time. A timer that is already due when it is set again sees the new time.
void HttpConnection::set_deadline(std::chrono::milliseconds time) {
  timed_out_ = false;
  deadline_.expires_after(time);
  deadline_.async_wait([weak = weak_from_this()](ErrorCode cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self) return;
    if (self->deadline_.expiry() > asio::steady_timer::clock_type::now()) return;
    self->timed_out_ = true;
    ErrorCode ignored;
    self->socket_.cancel(ignored);
  });
}

void HttpConnection::clear_deadline() {
  deadline_.expires_at(asio::steady_timer::time_point::max());
}

// ---- watching

// One wait at a time; one that outlives its request serves the next.
void HttpConnection::watch() {
  if (std::exchange(watching_, true)) return;
  socket_.async_wait(asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](ErrorCode error) {
                       self->watching_ = false;
                       if (!error) self->check_client();
                     });
}

// While an answer is under way, input is either the client's leaving or its next request.
void HttpConnection::check_client() {
  if (!answer_ || !answer_->open()) return;
  switch (client_state(socket_.native_handle())) {
    case ClientState::kGone:
      close();
      return;
    case ClientState::kSilent:
      watch();
      return;
    case ClientState::kHasSent:
      break;
  }
  watch_timer_.expires_after(kWatchInterval);
  watch_timer_.async_wait([self = shared_from_this()](ErrorCode error) {
    if (!error) self->check_client();
  });
}

bool HttpConnection::unread_input() {
  return buffer_.size() > 0 || client_state(socket_.native_handle()) != ClientState::kSilent;
}

}  // namespace lethe::serve
