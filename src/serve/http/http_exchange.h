#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "serve/http/http_message.h"

namespace lethe::serve {

/// One request being answered. The handler gets it as a shared_ptr and may keep it, hand it to
/// other threads, and answer whenever it likes: either `respond`, or `begin`, any number of
/// `write`, then `end`.
///
/// Threads: every method may be called from any thread, never blocks on the network and never
/// throws because the client has left. Once the answer has ended or the client is gone, all of them
/// do nothing, so a timer may race with `end`. Answering in the wrong order (`write` before
/// `begin`, `respond` after it) is a mistake of ours and aborts.
///
/// When the last shared_ptr goes away before the answer ended, the client gets a 500 if nothing was
/// sent yet, else a broken connection. Callbacks are dropped when the exchange ends, so they may
/// hold the exchange's shared_ptr; nobody then notices if it is never answered.
///
/// The client is taken to be gone as soon as its side of the connection is closed. One that closes
/// only its sending half (`nc -N`) looks the same and is not waited for; no HTTP client does that.
class HttpExchange {
 public:
  HttpExchange() = default;
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;
  virtual ~HttpExchange() = default;

  /// Lives as long as the exchange.
  virtual const HttpRequest& request() const = 0;

  /// The whole answer, with content-length.
  virtual void respond(HttpResponse response) = 0;

  /// Sends the headers at once; the body follows in pieces (chunked; for HTTP/1.0 until the
  /// connection closes). A header with line breaks in it is answered with a 500 instead.
  virtual void begin(int status, HttpHeaders headers) = 0;
  /// Sends a piece of the body as soon as the socket takes it. Pieces that have to wait are joined;
  /// a client that lets 32 MiB of them wait is taken to be gone.
  virtual void write(std::string bytes) = 0;
  /// The body is complete. The connection may serve its next request.
  virtual void end() = 0;

  /// Sends what was written, then closes the connection, so that the client sees that the answer is
  /// incomplete (except under HTTP/1.0, which cannot say so).
  virtual void abort() = 0;

  /// Calls `callback` once, on the server's thread, if the client goes away (or the server closes
  /// the connection while stopping) before the answer ended; also if it already has. Not after
  /// `abort`. It is noticed within 100 ms even while nothing is being written.
  virtual void on_disconnect(std::function<void()> callback) = 0;

  /// Calls `callback` once, on the server's thread, after `delay`, unless the answer has ended or
  /// the client is gone by then. Call again from the callback to repeat.
  virtual void after(std::chrono::milliseconds delay, std::function<void()> callback) = 0;
};

}  // namespace lethe::serve
