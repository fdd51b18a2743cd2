// POST /chat/completions (spec api.md section 2).

#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "serve/api/api_error.h"
#include "serve/api/api_json.h"
#include "serve/api/api_server.h"
#include "serve/api/chat_answer.h"

namespace lethe::serve {

namespace {

int64_t unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

constexpr size_t kMaxUnread = 64;  // requests that wait for a reader

}  // namespace

void ApiServer::post_chat_completions(const Exchange& exchange) {
  // Reading a long prompt takes longer than the server's thread may be away.
  if (tasks_.pending() >= kMaxUnread) {
    refuse(exchange, api_error(429, "Many requests wait to be read: try again in a moment."));
    return;
  }
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  exchange->on_disconnect([gone] { *gone = true; });
  tasks_.post([this, exchange, gone] {
    if (*gone) return;
    try {
      run_chat(exchange);
    } catch (const std::exception& error) {
      refuse(exchange, api_error(error));
    }
  });
}

/// Everything that can be refused is refused before anything is sent.
void ApiServer::run_chat(const Exchange& exchange) {
  ChatService& service = *service_;
  const Json body = parse_json(exchange->request().body);
  const ChatRequest request = parse_chat_request(body, service.model().profile());
  ChatFormat format;
  format.id = random_id();
  format.model = optional_string(body, "model");
  if (format.model.empty()) format.model = service.model().id();
  check_model_name(format.model);
  PreparedRequest prepared = service.prepare(request);
  format.created = unix_time();
  format.thinking = prepared.thinking;
  format.include_usage = request.parameters.include_usage;
  format.usage_in_own_chunk = options_.usage_in_own_chunk;
  const auto answer = ChatAnswer::make(exchange, service, std::move(format),
                                       {.stream = request.parameters.stream,
                                        .silence = options_.silence,
                                        .on_end = [this, exchange](const ChatResult& result) {
                                          log_answer(exchange->request(), result);
                                        }});
  answer->started(service.start(std::move(prepared), answer));
}

void ApiServer::check_model_name(std::string_view name) const {
  if (!options_.strict_models) return;
  // DeepSeek's guide for one agent asks for the long context so.
  constexpr std::string_view kLongContext = "[1m]";
  if (name.ends_with(kLongContext)) name.remove_suffix(kLongContext.size());
  const std::vector<std::string> names = model_names();
  if (std::ranges::find(names, name) == names.end()) {
    throw RequestError(404, fmt::format("model: there is no '{}' here; see /v1/models", name));
  }
}

}  // namespace lethe::serve
