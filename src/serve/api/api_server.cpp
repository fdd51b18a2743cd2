#include "serve/api/api_server.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "serve/api/api_json.h"
#include "serve/http/http_target.h"
#include "text/request_parameters.h"

namespace lethe::serve {

namespace {

constexpr int kReaderThreads = 2;
constexpr size_t kLoggedMessageBytes = 400;

/// The prefixes under which all routes stand (section 1).
std::string_view without_prefix(std::string_view path) {
  for (const std::string_view prefix : {"/beta", "/v1"}) {
    if (path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/')) {
      path.remove_prefix(prefix.size());
    }
  }
  if (path.ends_with('/')) path.remove_suffix(1);
  return path.empty() ? "/" : path;
}

/// The token of "Bearer TOKEN"; the name of a scheme has no case (RFC 9110 section 11.1).
std::string_view bearer_token(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  if (header.size() < kScheme.size()) return {};
  if (!std::ranges::equal(header.substr(0, kScheme.size()), kScheme, {}, lower)) return {};
  return header.substr(kScheme.size());
}

/// Takes the same time wherever the difference is.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^
                  static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return difference == 0;
}

}  // namespace

const std::vector<ApiServer::Route>& ApiServer::routes() {
  static const std::vector<Route> routes = {
      {"GET", "/", &ApiServer::get_root, true},
      {"GET", "/health", &ApiServer::get_health, true},
      {"GET", "/models", &ApiServer::get_models},
      {"GET", "/user/balance", &ApiServer::get_balance},
      {"POST", "/chat/completions", &ApiServer::post_chat_completions},
  };
  return routes;
}

ApiServer::ApiServer(ApiOptions options)
    : options_(std::move(options)),
      http_(http_options(options_.http), [this](Exchange exchange) { handle(exchange); }),
      tasks_(kReaderThreads) {}

ApiServer::~ApiServer() = default;

HttpServerOptions ApiServer::http_options(HttpServerOptions options) {
  if (!options.error_body) {
    options.error_body = [](int status, std::string_view message) {
      return api_error(status, std::string(message)).response();
    };
  }
  // Before the body: a stranger's 64 MiB are not read.
  options.refuse_head = [this](const HttpRequest& head) { return check_key(head); };
  options.on_drain_end = [this] {
    if (ChatService* const service = service_) service->shut_down();
  };
  return options;
}

void ApiServer::handle(const Exchange& exchange) {
  try {
    dispatch(exchange);
  } catch (const std::exception& error) {
    refuse(exchange, api_error(error));
  }
}

void ApiServer::refuse(const Exchange& exchange, const ApiError& error) const {
  log_refusal(exchange->request(), error.status, error.message);
  exchange->respond(error.response());
}

void ApiServer::log_refusal(const HttpRequest& request, int status,
                            const std::string& message) const {
  if (!options_.log) return;
  options_.log(fmt::format("{} {} {}: {}: {}", request.peer, printable(request.method, 20),
                           printable(request.path), status,
                           printable(message, kLoggedMessageBytes)));
}

/// Who has no key is told so, unless the path is open to all.
std::optional<std::pair<int, std::string>> ApiServer::check_key(const HttpRequest& head) const {
  ApiError ignored;
  const Route* const route = find_route(head, ignored);
  if ((route != nullptr && route->is_open) || is_authorized(head)) return std::nullopt;
  std::string message =
      "Authentication fails: the request needs the API key that Lethe was started with, as "
      "\"Authorization: Bearer KEY\".";
  log_refusal(head, 401, message);
  return std::pair(401, std::move(message));
}

const ApiServer::Route* ApiServer::find_route(const HttpRequest& request, ApiError& error) {
  const std::string_view method =
      request.method == "HEAD" ? "GET" : std::string_view(request.method);
  std::string_view path = without_prefix(request.path);
  if (path.starts_with("/models/")) path = "/models";
  for (const Route& route : routes()) {
    if (route.path != path) continue;
    if (route.method == method) return &route;
    error = api_error(405, fmt::format("{} takes {}.", request.path, route.method));
    error.allow = route.method;
    return nullptr;
  }
  error = api_error(404, fmt::format("There is nothing at {} {}.", request.method, request.path));
  return nullptr;
}

void ApiServer::dispatch(const Exchange& exchange) {
  ApiError error;
  const Route* const route = find_route(exchange->request(), error);
  if (route == nullptr) {
    refuse(exchange, error);
  } else if (!route->is_open && service_ == nullptr) {
    refuse(exchange, api_error(503, "The model is being loaded: try again in a moment."));
  } else {
    (this->*route->handler)(exchange);
  }
}

bool ApiServer::is_authorized(const HttpRequest& request) const {
  if (options_.api_key.empty()) return true;
  if (const auto header = request.header("authorization")) {
    return same_secret(bearer_token(*header), options_.api_key);
  }
  return same_secret(request.header("x-api-key").value_or(""), options_.api_key);
}

void ApiServer::get_root(const Exchange& exchange) {
  exchange->respond({.status = 200,
                     .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
                     .body = "Lethe " LETHE_VERSION ". The API is at /v1.\n"});
}

void ApiServer::get_health(const Exchange& exchange) {
  const bool ready = service_ != nullptr;
  exchange->respond(json_response(ready ? 200 : 503, {{"status", ready ? "ok" : "loading"}}));
}

void ApiServer::get_balance(const Exchange& exchange) {
  exchange->respond(
      json_response(200, {{"is_available", true},
                          {"balance_infos", Json::array({{{"currency", "USD"},
                                                          {"total_balance", "0.00"},
                                                          {"granted_balance", "0.00"},
                                                          {"topped_up_balance", "0.00"}}})}}));
}

std::vector<std::string> ApiServer::model_names() const {
  const ServedModel& model = service_.load()->model();
  std::vector<std::string> names = {model.id()};
  names.insert(names.end(), model.aliases().begin(), model.aliases().end());
  return names;
}

Json ApiServer::model_json(const std::string& name) const {
  const int64_t context = service_.load()->model().context_length();
  return {{"id", name},
          {"object", "model"},
          {"owned_by", "deepseek"},
          {"context_length", context},
          {"max_output", std::min(context, kMaxOutputTokens)}};
}

void ApiServer::get_models(const Exchange& exchange) {
  constexpr std::string_view kPrefix = "/models/";
  const std::string_view path = without_prefix(exchange->request().path);
  if (path.starts_with(kPrefix)) {
    const std::string name = percent_decode(path.substr(kPrefix.size())).value_or("");
    const std::vector<std::string> names = model_names();
    if (std::ranges::find(names, name) == names.end()) {
      refuse(exchange, api_error(404, fmt::format("There is no model '{}'.", name)));
    } else {
      exchange->respond(json_response(200, model_json(name)));
    }
    return;
  }
  Json data = Json::array();
  for (const std::string& name : model_names()) data.push_back(model_json(name));
  exchange->respond(json_response(200, {{"object", "list"}, {"data", std::move(data)}}));
}

void ApiServer::log_answer(const HttpRequest& request, const ChatResult& result) const {
  if (!options_.log) return;
  const ChatUsage& usage = result.usage;
  std::string more =
      result.error.empty() ? "" : ": " + printable(result.error, kLoggedMessageBytes);
  if (result.num_unfinished_calls > 0) {
    more += fmt::format("; {} tool calls were left unfinished", result.num_unfinished_calls);
  }
  options_.log(fmt::format("{} {}: prompt {} ({} cached), {:.2f} s; answer {}, {:.2f} s; {}{}",
                           request.peer, printable(request.path), usage.prompt_tokens,
                           usage.cached_tokens, usage.waiting_s + usage.prefill_s,
                           usage.completion_tokens, usage.decode_s,
                           result.cancelled ? "the client left" : result.finish_reason, more));
}

}  // namespace lethe::serve
