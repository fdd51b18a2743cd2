#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "serve/test_server.h"

namespace lethe::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;
using serve::HttpExchange;
using serve::HttpServerOptions;
using ExchangePtr = std::shared_ptr<HttpExchange>;

// Says what it was asked.
void echo(const ExchangePtr& exchange) {
  const serve::HttpRequest& request = exchange->request();
  exchange->respond({.status = 200,
                     .headers = {{"content-type", "text/plain"}},
                     .body = request.method + " " + request.path + "|" + request.query + "|" +
                             std::string(request.header("x-test").value_or("-")) + "|" +
                             request.body});
}

TEST(HttpServerRequest, HasAllItsParts) {
  TestServer server([](const ExchangePtr& exchange) {
    EXPECT_THAT(exchange->request().peer, StartsWith("127.0.0.1:"));
    echo(exchange);
  });
  HttpClient client = server.connect();
  client.request("POST", "/v1/a%20b?beta=true&x", "hello", {{"X-Test", "1"}, {"x-TEST", "2"}});
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.version, "HTTP/1.1");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("Content-Type"), "text/plain");
  EXPECT_THAT(response.header("date"), HasSubstr(" GMT"));
  EXPECT_EQ(response.body, "POST /v1/a%20b|beta=true&x|1|hello");
}

TEST(HttpServerRequest, KeepsTheConnection) {
  TestServer server(echo);
  HttpClient client = server.connect();
  for (int i = 0; i < 20; ++i) {
    client.request("POST", fmt::format("/{}", i), std::string(static_cast<size_t>(i), 'x'));
    const ClientResponse response = client.read_response();
    EXPECT_EQ(response.header("connection"), "");
    EXPECT_THAT(response.body, StartsWith(fmt::format("POST /{}|", i)));
  }
  client.request("GET", "/", "", {{"Connection", "close"}});
  EXPECT_EQ(client.read_response().header("connection"), "close");
  EXPECT_TRUE(client.at_end());
}

TEST(HttpServerRequest, PipelinedOnesAreAnsweredInOrder) {
  ExchangeQueue queue;
  TestServer server(queue.handler());
  HttpClient client = server.connect();
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += fmt::format("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", i);
  }
  client.send(requests);
  for (int i = 0; i < 50; ++i) echo(queue.next());
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(client.read_response().body, StartsWith(fmt::format("GET /{}|", i)));
  }
}

TEST(HttpServerRequest, ArrivesByteByByte) {
  TestServer server(echo);
  HttpClient client = server.connect();
  const std::string request =
      "POST /a?b HTTP/1.1\r\nHost: x\r\nX-Test: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n";
  client.send_byte_by_byte(request + request);
  EXPECT_EQ(client.read_response().body, "POST /a|b|7|abcdefg");
  EXPECT_EQ(client.read_response().body, "POST /a|b|7|abcdefg");
}

TEST(HttpServerRequest, HeadHasNoBody) {
  TestServer server([](const ExchangePtr& exchange) {
    if (exchange->request().path == "/whole") {
      exchange->respond({.body = "12345"});
    } else {
      exchange->begin(200, {});
      exchange->write("12345");
      exchange->end();
    }
  });
  HttpClient client = server.connect();
  client.request("HEAD", "/whole");
  EXPECT_EQ(client.read_response(true).header("content-length"), "5");
  client.request("HEAD", "/stream");
  EXPECT_EQ(client.read_response(true).header("transfer-encoding"), "chunked");
  client.request("GET", "/stream");  // only the right bytes stand between the heads
  EXPECT_EQ(client.read_response().body, "12345");
}

TEST(HttpServerRequest, Http10ClosesUnlessAskedNotTo) {
  TestServer server([](const ExchangePtr& exchange) {
    if (exchange->request().path != "/stream") return echo(exchange);
    exchange->begin(200, {});
    exchange->write("abc");
    exchange->write("def");
    exchange->end();
  });
  HttpClient client = server.connect();
  client.send("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(client.read_response().header("connection"), "keep-alive");
  client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const ClientResponse stream = client.read_response();
  EXPECT_EQ(stream.header("transfer-encoding"), "");
  EXPECT_EQ(stream.header("connection"), "close");
  EXPECT_EQ(stream.body, "abcdef");

  HttpClient other = server.connect();
  other.send("GET /2 HTTP/1.0\r\n\r\n");
  EXPECT_EQ(other.read_response().header("connection"), "close");
  EXPECT_TRUE(other.at_end());
}

TEST(HttpServerRequest, IsToldToContinue) {
  TestServer server(echo, {.max_body_bytes = 100});
  HttpClient client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.read_head().status, 100);
  client.send("abc");
  EXPECT_EQ(client.read_response().body, "POST /||-|abc");
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 413);  // before the body is sent
}

TEST(HttpServerRequest, MayHaveABodyOfAnyBytes) {
  TestServer server(echo);
  std::string body;
  for (uint32_t i = 0; i < 3'000'000; ++i) body.push_back(static_cast<char>(i * 7919 >> 3));
  HttpClient client = server.connect();
  client.request("POST", "/", body);
  EXPECT_TRUE(client.read_response().body == "POST /||-|" + body);
  client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const size_t cut : {size_t{1}, size_t{1'000'000}, size_t{1'999'999}}) {
    client.send(fmt::format("{:x}\r\n", cut));
    client.send(body.substr(0, cut));
    client.send("\r\n");
  }
  client.send("0\r\n\r\n");
  EXPECT_EQ(client.read_response().body.size(), 10 + 3'000'000U);
}

// ---- requests that the transport refuses

struct Refused {
  const char* name;
  std::string request;
  int status;
  const char* says;
};

class HttpServerRefusal : public ::testing::TestWithParam<Refused> {};

TEST_P(HttpServerRefusal, SaysWhatIsWrong) {
  TestServer server(echo, {.max_header_bytes = 4096, .max_body_bytes = 10});
  HttpClient client = server.connect();
  client.send(GetParam().request);
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_THAT(response.body, HasSubstr(GetParam().says));
  EXPECT_THAT(response.body, StartsWith(R"({"error":{"message":")"));
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_EQ(response.header("connection"), "close");
  EXPECT_TRUE(client.at_end());
}

INSTANTIATE_TEST_SUITE_P(
    Of, HttpServerRefusal,
    ::testing::Values(
        Refused{"Nonsense", "\x01\x02 nonsense\r\n\r\n", 400, "not HTTP/1.1"},
        Refused{"Tls", "\x16\x03\x01 hello", 400, "Use http:// instead"},
        Refused{"Version", "GET / HTTP/2.0\r\n\r\n", 400, "not HTTP/1.1"},
        Refused{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400, "Host"},
        Refused{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Host"},
        Refused{"Target", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path that begins"},
        Refused{"HeaderLine", "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "not HTTP/1.1"},
        Refused{"Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400,
                "not HTTP/1.1"},
        Refused{"TwoLengths",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                400, "not HTTP/1.1"},
        Refused{"LengthAndChunks",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
                "chunked\r\n\r\n0\r\n\r\n",
                400, "not HTTP/1.1"},
        Refused{"ChunkSize",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400,
                "not HTTP/1.1"},
        Refused{"Coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501,
                "chunked"},
        Refused{"CodingAndChunks",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
                "chunked"},
        Refused{"Expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "100-cont"},
        Refused{"LargeHeader",
                "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(5000, 'x') + "\r\n\r\n", 431,
                "4096 bytes"},
        Refused{"EndlessHeader", "GET /" + std::string(50000, 'x'), 431, "4096 bytes"},
        Refused{"ManyHeaders",
                "GET / HTTP/1.1\r\nHost: a\r\n" +
                    [] {
                      std::string lines;
                      for (int i = 0; i < 3000; ++i) lines += "A: b\r\n";
                      return lines;
                    }(),
                431, "4096 bytes"},
        Refused{"LargeBody",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n" + std::string(11, 'x'),
                413, "10 bytes"},
        Refused{"HugeLength",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", 413,
                "10 bytes"},
        Refused{"LargeChunks",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                "6\r\nabcdef\r\n6\r\nabcdef\r\n",
                413, "10 bytes"}),
    [](const auto& refused) { return std::string(refused.param.name); });

// What is still on its way must not reset the connection before the client has read the answer.
TEST(HttpServerRequest, RefusalSurvivesTheRestOfTheBody) {
  TestServer server(echo, {.max_body_bytes = 10});
  HttpClient client = server.connect();
  client.request("POST", "/", std::string(4'000'000, 'x'));
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(client.read_response().status, 413);
}

TEST(HttpServerRequest, ErrorsAreShapedByTheCallback) {
  TestServer server(
      [](const ExchangePtr& exchange) -> void {
        if (exchange->request().path == "/throws") throw std::runtime_error("no luck");
        if (exchange->request().path == "/drops") return;
        exchange->respond({.status = 200, .headers = {{"x", "a\r\nb"}}, .body = ""});
      },
      {.error_body = [](int status, std::string_view message) {
        return serve::HttpResponse{.status = status,
                                   .headers = {{"x-made-by", "test"}},
                                   .body = fmt::format("<{}>", message)};
      }});
  HttpClient client = server.connect();
  client.request("GET", "/throws");
  ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "<The server failed to answer this request: no luck.>");
  EXPECT_EQ(response.header("x-made-by"), "test");
  client.request("GET", "/drops");
  EXPECT_THAT(client.read_response().body, HasSubstr("dropped without an answer"));
  client.request("GET", "/header");  // a header that would end its line
  response = client.read_response();
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, HasSubstr("control character"));
}

TEST(HttpServerRequest, SlowClientsAreNotWaitedFor) {
  TestServer server(echo, {.idle_timeout = 150ms, .header_timeout = 100ms, .body_timeout = 100ms});
  HttpClient idle = server.connect();
  HttpClient header = server.connect();
  HttpClient body = server.connect();
  header.send("GET / HT");
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(header.read_response().status, 408);
  EXPECT_TRUE(header.at_end());
  EXPECT_EQ(body.read_response().status, 408);
  EXPECT_TRUE(body.at_end());
  EXPECT_TRUE(idle.at_end());  // had asked nothing, so is told nothing
}

}  // namespace
}  // namespace lethe::testing
