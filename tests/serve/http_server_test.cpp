#include "serve/http/http_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>

#include "base/error.h"
#include "serve/test_server.h"

namespace lethe::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;
using serve::HttpExchange;
using serve::HttpServer;
using ExchangePtr = std::shared_ptr<HttpExchange>;
using Clock = std::chrono::steady_clock;

void say_hello(const ExchangePtr& exchange) {
  exchange->respond({.body = "hello"});
}

// ---- streams

TEST(HttpServerStream, ArrivesPieceByPiece) {
  ExchangeQueue queue;
  TestServer server(queue.handler());
  HttpClient client = server.connect();
  for (int turn = 0; turn < 2; ++turn) {  // twice over one connection
    client.request("GET", "/");
    const ExchangePtr exchange = queue.next();
    exchange->begin(200, {{"content-type", "text/event-stream"}});
    const ClientResponse head = client.read_head();  // comes before any piece
    EXPECT_EQ(head.header("content-type"), "text/event-stream");
    EXPECT_EQ(head.header("transfer-encoding"), "chunked");
    for (int i = 0; i < 100; ++i) {
      const std::string event = "data: " + std::to_string(i);
      exchange->write(event + "\n\n");
      EXPECT_EQ(client.read_event(), event);  // before the next one exists
    }
    exchange->write("");  // is not the end
    exchange->write("data: [DONE]\n\n");
    exchange->end();
    exchange->write("too late");
    exchange->end();
    EXPECT_EQ(client.read_event(), "data: [DONE]");
    EXPECT_EQ(client.read_event(), std::nullopt);
  }
}

TEST(HttpServerStream, JoinsPiecesThatWait) {
  TestServer server([](const ExchangePtr& exchange) {
    exchange->begin(200, {});
    for (int i = 0; i < 1000; ++i) exchange->write("0123456789");
    exchange->end();
  });
  HttpClient client = server.connect();
  client.request("GET", "/");
  client.read_head();
  EXPECT_EQ(client.read_chunk().value_or("").size(), 10'000U);
  EXPECT_EQ(client.read_chunk(), std::nullopt);
}

TEST(HttpServerStream, AbortBreaksTheBody) {
  ExchangeQueue queue;
  TestServer server(queue.handler());
  HttpClient client = server.connect();
  client.request("GET", "/");
  ExchangePtr exchange = queue.next();
  exchange->begin(200, {});
  exchange->write("last words");
  exchange->abort();
  client.read_head();
  EXPECT_EQ(client.read_chunk(), "last words");
  EXPECT_TRUE(client.at_end());

  HttpClient other = server.connect();
  other.request("GET", "/");
  queue.next()->abort();  // before anything was said
  EXPECT_TRUE(other.at_end());

  HttpClient third = server.connect();
  third.request("GET", "/");
  exchange = queue.next();
  exchange->begin(200, {});
  exchange.reset();  // dropped in the middle
  third.read_head();
  EXPECT_TRUE(third.at_end());
}

TEST(HttpServerStream, ManyAtOnce) {
  constexpr size_t kStreams = 200;
  constexpr int kEvents = 20;
  ExchangeQueue queue;
  TestServer server(queue.handler());
  std::vector<HttpClient> clients;
  std::vector<ExchangePtr> exchanges;
  for (size_t i = 0; i < kStreams; ++i) {
    clients.push_back(server.connect());
    clients.back().request("GET", fmt::format("/{}", i));
    exchanges.push_back(queue.next());
    exchanges.back()->begin(200, {});
  }
  std::thread scheduler([&] {
    for (int event = 0; event < kEvents; ++event) {
      for (const ExchangePtr& exchange : exchanges) {
        exchange->write(fmt::format("{} {}\n\n", exchange->request().path, event));
      }
    }
    for (const ExchangePtr& exchange : exchanges) exchange->end();
  });
  for (size_t i = 0; i < kStreams; ++i) {
    clients[i].read_head();
    for (int event = 0; event < kEvents; ++event) {
      ASSERT_EQ(clients[i].read_event(), fmt::format("/{} {}", i, event));
    }
    EXPECT_EQ(clients[i].read_event(), std::nullopt);
  }
  scheduler.join();
}

TEST(HttpServerStream, SlowReaderGetsAll) {
  TestServer server([](const ExchangePtr& exchange) {
    exchange->begin(200, {});
    for (int i = 0; i < 200; ++i)
      exchange->write(std::string(50'000, static_cast<char>('a' + i % 26)));
    exchange->end();
  });
  HttpClient client = server.connect();
  client.request("GET", "/");
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(client.read_response().body.size(), 10'000'000U);
}

TEST(HttpServerStream, ReaderThatStopsIsDropped) {
  ExchangeQueue queue;
  TestServer server(queue.handler(), {.write_timeout = 100ms});
  HttpClient client = server.connect();
  client.request("GET", "/");
  const ExchangePtr exchange = queue.next();
  std::promise<void> gone;
  exchange->on_disconnect([&] { gone.set_value(); });
  exchange->begin(200, {});
  exchange->write(std::string(20'000'000, 'x'));
  EXPECT_EQ(gone.get_future().wait_for(5s), std::future_status::ready);
}

// ---- clients that leave

enum class Leaving { kClose, kReset, kCloseWithUnreadRequest };

class HttpServerDisconnect : public ::testing::TestWithParam<Leaving> {
 protected:
  // True if the handler heard of it in time.
  static bool notices(bool streaming) {
    ExchangeQueue queue;
    TestServer server(queue.handler());
    HttpClient client = server.connect();
    client.request("GET", "/");
    const ExchangePtr exchange = queue.next();
    std::promise<std::thread::id> gone;
    exchange->on_disconnect([&] { gone.set_value(std::this_thread::get_id()); });
    if (streaming) {
      exchange->begin(200, {});
      exchange->write("a");
      client.read_head();
    }
    if (GetParam() == Leaving::kCloseWithUnreadRequest) {
      client.request("GET", "/2");
      std::this_thread::sleep_for(20ms);
    }
    const auto left = Clock::now();
    GetParam() == Leaving::kReset ? client.reset() : client.close();
    auto heard = gone.get_future();
    if (heard.wait_for(5s) != std::future_status::ready) return false;
    const auto took = Clock::now() - left;
    EXPECT_LT(took, 1s);  // 100 ms on a machine that has nothing else to do
    EXPECT_NE(heard.get(), std::this_thread::get_id());

    std::promise<void> late;  // who asks afterwards is told as well
    exchange->on_disconnect([&] { late.set_value(); });
    EXPECT_EQ(late.get_future().wait_for(5s), std::future_status::ready);
    exchange->write("nobody listens");
    exchange->end();
    HttpClient next = server.connect();
    next.request("GET", "/");
    say_hello(queue.next());
    EXPECT_EQ(next.read_response().body, "hello");
    return true;
  }
};

TEST_P(HttpServerDisconnect, IsNoticedWhileTheHandlerThinks) {
  EXPECT_TRUE(notices(false));
}
TEST_P(HttpServerDisconnect, IsNoticedInAStream) {
  EXPECT_TRUE(notices(true));
}

INSTANTIATE_TEST_SUITE_P(By, HttpServerDisconnect,
                         ::testing::Values(Leaving::kClose, Leaving::kReset,
                                           Leaving::kCloseWithUnreadRequest));

TEST(HttpServerDisconnect, IsNotReportedAfterTheEnd) {
  std::atomic<int> reports = 0;
  TestServer server([&](const ExchangePtr& exchange) {
    exchange->on_disconnect([&reports, exchange] { ++reports; });  // holds itself: is released
    say_hello(exchange);
    exchange->on_disconnect([&reports] { ++reports; });
  });
  for (int i = 0; i < 5; ++i) {
    HttpClient client = server.connect();
    client.request("GET", "/");
    EXPECT_EQ(client.read_response().body, "hello");
  }
  server.server().stop();
  server.join();
  EXPECT_EQ(reports, 0);
}

// ---- timers

TEST(HttpServerTimer, RepeatsUntilTheEnd) {
  std::atomic<int> comments = 0;
  std::promise<ExchangePtr> streaming;
  std::function<void(const ExchangePtr&)> keep_alive = [&](const ExchangePtr& exchange) {
    exchange->after(10ms, [&, weak = std::weak_ptr(exchange)] {
      const ExchangePtr alive = weak.lock();
      if (!alive) return;
      ++comments;
      alive->write(": keep-alive\n\n");
      keep_alive(alive);
    });
  };
  TestServer server([&](const ExchangePtr& exchange) {
    exchange->begin(200, {});
    keep_alive(exchange);
    streaming.set_value(exchange);
  });
  HttpClient client = server.connect();
  client.request("GET", "/");
  client.read_head();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.read_event(), ": keep-alive");
  streaming.get_future().get()->end();
  while (client.read_event()) {
  }
  const int at_end = comments;
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(comments, at_end);
  EXPECT_GE(at_end, 5);
}

TEST(HttpServerTimer, ExceptionFailsTheExchange) {
  TestServer server([](const ExchangePtr& exchange) {
    exchange->after(1ms, [exchange] { throw std::runtime_error("late trouble"); });
  });
  HttpClient client = server.connect();
  client.request("GET", "/");
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, HasSubstr("late trouble"));
}

// ---- starting and stopping

TEST(HttpServerStop, LetsAnswersFinish) {
  ExchangeQueue queue;
  TestServer server(queue.handler());
  HttpClient idle = server.connect();
  HttpClient busy = server.connect();
  busy.request("GET", "/");
  const ExchangePtr exchange = queue.next();
  const std::string url = server.server().url();
  server.server().stop();
  EXPECT_TRUE(idle.at_end());
  EXPECT_EQ(server.server().url(), url);
  EXPECT_THROW(server.connect(), std::runtime_error);
  exchange->begin(200, {});
  exchange->write("to the end");
  EXPECT_EQ(busy.read_head().header("connection"), "close");
  exchange->end();
  EXPECT_EQ(busy.read_chunk(), "to the end");
  EXPECT_EQ(busy.read_chunk(), std::nullopt);
  EXPECT_TRUE(busy.at_end());
  server.join();
}

TEST(HttpServerStop, BreaksAnswersThatTakeTooLong) {
  ExchangeQueue queue;
  TestServer server(queue.handler(), {.drain_time = 50ms});
  HttpClient client = server.connect();
  client.request("GET", "/");
  const ExchangePtr exchange = queue.next();
  std::promise<void> told;
  exchange->on_disconnect([&] { told.set_value(); });
  server.server().stop();
  server.join();
  EXPECT_EQ(told.get_future().wait_for(0s), std::future_status::ready);
  EXPECT_TRUE(client.at_end());
}

TEST(HttpServerStop, ExchangesMayOutliveTheServer) {
  ExchangeQueue queue;
  ExchangePtr exchange;
  {
    TestServer server(queue.handler());
    HttpClient client = server.connect();
    client.request("GET", "/left");
    exchange = queue.next();
    exchange->after(1h, [] {});
    exchange->begin(200, {});
  }
  exchange->write("x");
  exchange->on_disconnect([] { ADD_FAILURE(); });
  exchange->after(1ms, [] { ADD_FAILURE(); });
  exchange->end();
  EXPECT_EQ(exchange->request().path, "/left");
}

TEST(HttpServerStop, WithoutHavingRun) {
  HttpServer server({.port = 0}, say_hello);
  HttpClient client(server.port());
  client.request("GET", "/");
  server.stop();
  server.run();
  EXPECT_TRUE(client.at_end());
  const HttpServer never_run({.port = 0}, say_hello);
}

TEST(HttpServerStart, SaysWhereItIs) {
  HttpServer server({.port = 0}, say_hello);
  EXPECT_NE(server.port(), 0);
  EXPECT_EQ(server.url(), "http://127.0.0.1:" + std::to_string(server.port()));
  const HttpServer everywhere({.host = "0.0.0.0", .port = 0}, say_hello);
  EXPECT_EQ(everywhere.url(), "http://127.0.0.1:" + std::to_string(everywhere.port()));
}

TEST(HttpServerStart, ListensOnIpv6) {
  std::unique_ptr<HttpServer> server;
  try {
    server = std::make_unique<HttpServer>(
        serve::HttpServerOptions{.host = "[::1]", .port = 0}, [](const ExchangePtr& exchange) {
          EXPECT_THAT(exchange->request().peer, StartsWith("[::1]:"));
          say_hello(exchange);
        });
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_EQ(server->url(), "http://[::1]:" + std::to_string(server->port()));
  std::thread thread([&] { server->run(); });
  {
    HttpClient client(server->port(), "::1");
    client.request("GET", "/");
    EXPECT_EQ(client.read_response().body, "hello");
  }
  server->stop();
  thread.join();
}

std::string start_error(serve::HttpServerOptions options) {
  try {
    HttpServer server(std::move(options), say_hello);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(HttpServerStart, ErrorsSayWhatToDo) {
  const HttpServer first({.port = 0}, say_hello);
  EXPECT_EQ(start_error({.port = first.port()}),
            "cannot listen on 127.0.0.1:" + std::to_string(first.port()) +
                ": another program uses this port. Stop it, or choose another port (0 takes any "
                "free one).");
  EXPECT_THAT(start_error({.host = "no such host", .port = 0}), HasSubstr("Give an address"));
  EXPECT_THAT(start_error({.host = "203.0.113.1", .port = 0}), HasSubstr("no such address"));
}

TEST(HttpServerStart, RefusesConnectionsOverTheLimit) {
  TestServer server(say_hello, {.max_connections = 2});
  HttpClient first = server.connect();
  HttpClient second = server.connect();
  first.request("GET", "/");
  second.request("GET", "/");
  EXPECT_EQ(first.read_response().status, 200);
  EXPECT_EQ(second.read_response().status, 200);
  HttpClient third = server.connect();
  third.request("GET", "/");
  const ClientResponse response = third.read_response();
  EXPECT_EQ(response.status, 503);
  EXPECT_THAT(response.body, HasSubstr("2 connections"));
}

// Without file descriptors a connection waits in the kernel's queue; the thread must not spin.
TEST(HttpServerStart, WaitsForFileDescriptors) {
  TestServer server(say_hello);
  HttpClient client = server.connect();
  client.request("GET", "/");
  EXPECT_EQ(client.read_response().status, 200);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int lowest_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  rlimit none_left = before;
  none_left.rlim_cur = static_cast<rlim_t>(lowest_free) + 1;  // one for the client
  ::close(lowest_free);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none_left), 0);
  const std::clock_t cpu_before = std::clock();
  HttpClient waiting = server.connect();
  waiting.request("GET", "/");
  std::this_thread::sleep_for(250ms);
  const std::clock_t cpu = std::clock() - cpu_before;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(cpu, CLOCKS_PER_SEC / 10);
  EXPECT_EQ(waiting.read_response().status, 200);
}

}  // namespace
}  // namespace lethe::testing
