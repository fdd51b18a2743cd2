#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "serve/http/http_message.h"

namespace lethe::testing {

/// An answer as a client sees it. `header` without case; "" if absent.
struct ClientResponse {
  std::string version;  ///< "HTTP/1.1"
  int status = 0;
  serve::HttpHeaders headers;
  std::string body;

  std::string header(std::string_view name) const {
    return std::string(serve::find_header(headers, name).value_or(""));
  }
};

/// A blocking HTTP client for tests, close enough to the socket to send nonsense. Reads throw
/// std::runtime_error when the connection ends in the middle or nothing comes for 10 s.
class HttpClient {
 public:
  explicit HttpClient(uint16_t port, const std::string& address = "127.0.0.1") {
    const bool v6 = address.find(':') != std::string::npos;
    fd_ = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0) fail("socket");
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    const int yes = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    int status = 0;
    if (v6) {
      sockaddr_in6 to{};
      to.sin6_family = AF_INET6;
      to.sin6_port = htons(port);
      ::inet_pton(AF_INET6, address.c_str(), &to.sin6_addr);
      status = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
      status = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to);
    }
    if (status != 0) fail("connect");
  }
  ~HttpClient() { close(); }
  HttpClient(HttpClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), input_(std::move(other.input_)) {}
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) fail("send");
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  /// A packet per byte.
  void send_byte_by_byte(std::string_view bytes) {
    for (const char& c : bytes) {
      send({&c, 1});
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  /// A request with Host and, where there is a body, Content-Length.
  void request(std::string_view method, std::string_view target, std::string_view body = "",
               const serve::HttpHeaders& headers = {}) {
    std::string text = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n";
    for (const auto& [name, value] : headers) text += name + ": " + value + "\r\n";
    if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    send(text + "\r\n" + std::string(body));
  }

  /// Status line and headers. The body can then be read in pieces.
  ClientResponse read_head() {
    ClientResponse head;
    const std::string status = read_line();
    if (status.size() < 12) throw std::runtime_error("status line: " + status);
    head.version = status.substr(0, 8);
    head.status = std::stoi(status.substr(9, 3));
    for (std::string line = read_line(); !line.empty(); line = read_line()) {
      const size_t colon = line.find(": ");
      if (colon == std::string::npos) throw std::runtime_error("header: " + line);
      head.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
    return head;
  }
  /// A whole answer. `head_only`: to a HEAD request.
  ClientResponse read_response(bool head_only = false) {
    ClientResponse response = read_head();
    if (head_only || response.status == 204 || response.status == 304 || response.status < 200) {
      return response;
    }
    if (!response.header("content-length").empty()) {
      response.body = read_bytes(std::stoul(response.header("content-length")));
    } else if (response.header("transfer-encoding") == "chunked") {
      while (const auto chunk = read_chunk()) response.body += *chunk;
    } else {
      response.body = read_to_end();
    }
    return response;
  }

  /// The next chunk of a chunked body; nullopt after the last.
  std::optional<std::string> read_chunk() {
    const size_t size = std::stoul(read_line(), nullptr, 16);
    std::string chunk = read_bytes(size);
    if (!read_line().empty()) throw std::runtime_error("a chunk is longer than it says");
    if (size == 0) return std::nullopt;
    return chunk;
  }
  /// The next event or comment of an SSE stream in a chunked body: its lines up to the empty line,
  /// without that line; nullopt at the end.
  std::optional<std::string> read_event() {
    for (;;) {
      const size_t end = events_.find("\n\n");
      if (end != std::string::npos) {
        std::string event = events_.substr(0, end);
        events_.erase(0, end + 2);
        return event;
      }
      const auto chunk = read_chunk();
      if (!chunk) return std::nullopt;
      events_ += *chunk;
    }
  }
  std::string read_to_end() {
    while (receive()) {
    }
    return std::exchange(input_, {});
  }
  /// True if the server has closed and nothing is left to read; false if anything comes instead.
  bool at_end() { return input_.empty() && !receive(); }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Closes with a reset, as when a process is killed with unread data.
  void reset() {
    const linger hard{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }

 private:
  [[noreturn]] static void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
  }
  // False at the end of the connection. A reset is an end, too.
  bool receive() {
    char bytes[16384];
    const ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got < 0 && errno == ECONNRESET) return false;
    if (got < 0) fail("recv");
    input_.append(bytes, static_cast<size_t>(got));
    return got > 0;
  }
  std::string read_line() {
    size_t end = 0;
    while ((end = input_.find("\r\n")) == std::string::npos) {
      if (!receive()) throw std::runtime_error("connection ended in a line: " + input_);
    }
    std::string line = input_.substr(0, end);
    input_.erase(0, end + 2);
    return line;
  }
  std::string read_bytes(size_t size) {
    while (input_.size() < size) {
      if (!receive()) throw std::runtime_error("connection ended in a body: " + input_);
    }
    std::string bytes = input_.substr(0, size);
    input_.erase(0, size);
    return bytes;
  }

  int fd_ = -1;
  std::string input_;   // received, not read
  std::string events_;  // of the body, not read
};

}  // namespace lethe::testing
