#include "serve/http/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <string_view>

namespace lethe::serve {
namespace {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";  // optional, and clients ignore it
  }
}

// "Thu, 26 Nov 2026 15:53:56 GMT"; not strftime, whose names follow the locale.
std::string http_date(std::time_t time) {
  constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm utc{};
  gmtime_r(&time, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     kDays[static_cast<size_t>(utc.tm_wday)], utc.tm_mday,
                     kMonths[static_cast<size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

bool is_token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '\t' || (byte >= ' ' && byte != 0x7f);
  });
}

}  // namespace

std::string http_head(const HttpHeadArgs& args) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\ndate: {}\r\n", args.status,
                                 reason_phrase(args.status), http_date(std::time(nullptr)));
  for (const auto& [name, value] : args.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (args.framing == BodyFraming::kLength) {
    head += fmt::format("content-length: {}\r\n", args.content_length);
  } else if (args.framing == BodyFraming::kChunked) {
    head += "transfer-encoding: chunked\r\n";
  }
  if (!args.keep_alive) {
    head += "connection: close\r\n";
  } else if (args.http_1_0) {
    head += "connection: keep-alive\r\n";
  }
  return head + "\r\n";
}

std::string header_fault(const HttpHeaders& headers) {
  for (const auto& [name, value] : headers) {
    if (!is_token(name)) return "an answer's header has a name that is no HTTP token";
    if (!is_value(value))
      return fmt::format("the answer's header {} has a control character", name);
  }
  for (const char* own : {"content-length", "transfer-encoding", "connection", "date"}) {
    if (find_header(headers, own)) return fmt::format("the header {} is the server's own", own);
  }
  return "";
}

}  // namespace lethe::serve
