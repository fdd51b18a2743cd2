#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "scripted_checkpoint.h"
#include "serve/api/api_server.h"
#include "serve/http_client.h"
#include "temporary_directory.h"

namespace lethe::testing {

/// The model of the default script, opened once.
inline serve::ServedModel& scripted_model() {
  static const TemporaryDirectory directory;
  static const std::unique_ptr<serve::ServedModel> model = [] {
    const std::string path = directory.file("scripted");
    write_scripted_checkpoint(path, default_script());
    return std::make_unique<serve::ServedModel>(
        serve::ServedModelOptions{.path = path, .threads = 1});
  }();
  return *model;
}

/// Stands before every forward pass of an engine: lets through as many as are allowed, or fails
/// them. Everything is allowed at first.
class StepGate {
 public:
  void allow(int64_t steps) {
    set([&] { allowed_ = passed_ + steps; });
  }
  void hold() { allow(0); }
  void open() {
    set([&] { allowed_ = std::numeric_limits<int64_t>::max(); });
  }
  /// All passes fail with this text; empty: none do.
  void fail(const std::string& error) {
    set([&] { error_ = error; });
  }
  void wait_until_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_; });
  }
  /// On the engine's thread.
  void pass() {
    std::unique_lock lock(mutex_);
    held_ = passed_ >= allowed_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return passed_ < allowed_; });
    held_ = false;
    ++passed_;
    if (!error_.empty()) throw Error("{}", error_);
  }

 private:
  template <typename Change>
  void set(Change change) {
    std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t passed_ = 0;
  int64_t allowed_ = std::numeric_limits<int64_t>::max();
  bool held_ = false;
  std::string error_;
};

/// A streamed answer as it was read.
struct ChatStream {
  std::vector<Json> chunks;           ///< every event that is JSON
  std::vector<std::string> comments;  ///< without their colon
  bool done = false;                  ///< ended with [DONE]

  const Json& last() const { return chunks.at(chunks.size() - 1); }
  /// choices[0].delta of every chunk that has one.
  std::vector<Json> deltas() const {
    std::vector<Json> out;
    for (const Json& chunk : chunks) {
      if (chunk.contains("choices") && !chunk["choices"].empty()) {
        out.push_back(chunk["choices"][0]["delta"]);
      }
    }
    return out;
  }
  /// The pieces under that key of the deltas, joined.
  std::string joined(const char* key) const {
    std::string out;
    for (const Json& delta : deltas()) {
      if (delta.contains(key) && delta[key].is_string()) out += delta[key].get<std::string>();
    }
    return out;
  }
};

/// Takes one event of a stream in. False at the stream's end.
inline bool read_event(HttpClient& client, ChatStream& stream) {
  const std::optional<std::string> event = client.read_event();
  if (!event) return false;
  constexpr std::string_view kData = "data: ";
  if (event->starts_with(':')) {
    stream.comments.push_back(event->substr(1));
  } else if (*event == "data: [DONE]") {
    stream.done = true;
  } else if (event->starts_with(kData) && !stream.done) {
    stream.chunks.push_back(Json::parse(event->substr(kData.size())));
  } else {
    throw std::runtime_error("not an event: " + *event);
  }
  return true;
}

/// The rest of a stream, whose head was read.
inline ChatStream read_stream(HttpClient& client) {
  ChatStream stream;
  while (read_event(client, stream)) {
  }
  return stream;
}

/// One user message, and further members of the body.
inline Json ask(const std::string& text, const Json& more = Json::object()) {
  Json body;
  body["messages"] = Json::array({Json{{"role", "user"}, {"content", text}}});
  body.update(more);
  return body;
}

inline const Json kNoThinking = {{"thinking", {{"type", "disabled"}}}};

/// `a` with the members of `b`.
inline Json with(Json a, const Json& b) {
  a.update(b);
  return a;
}

inline Json weather_tools() {
  Json tool = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  tool["function"]["parameters"] = {{"type", "object"},
                                    {"properties", {{"city", {{"type", "string"}}}}}};
  Json body;
  body["tools"] = Json::array({tool});
  return body;
}

/// The API in front of the scripted model, on a free port, with a thread of its own.
class TestApi {
 public:
  explicit TestApi(serve::ApiOptions options = {}, engine::EngineOptions engine = small_engine(),
                   bool loaded = true)
      : server_(on_any_port(std::move(options))), engine_(engine) {
    if (loaded) load();
    thread_ = std::thread([this] { server_.run(); });
  }
  ~TestApi() {
    gate.open();
    for (int i = 0; i < 3; ++i) server_.stop();  // a test that failed may have left answers open
    join();
  }

  static engine::EngineOptions small_engine() {
    return {.max_running = 16, .max_waiting = 16, .memory_bytes = int64_t{64} << 20};
  }

  void load() {
    service_ =
        std::make_unique<serve::ChatService>(scripted_model(), engine_, [this] { gate.pass(); });
    server_.set_service(*service_);
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  serve::ApiServer& server() { return server_; }
  serve::ChatService& service() { return *service_; }
  HttpClient connect() const { return HttpClient(server_.port()); }

  ClientResponse get(const std::string& path, const serve::HttpHeaders& headers = {}) const {
    HttpClient client = connect();
    client.request("GET", path, "", headers);
    return client.read_response();
  }
  ClientResponse post(const std::string& body, const serve::HttpHeaders& headers = {},
                      const std::string& path = "/v1/chat/completions") const {
    HttpClient client = connect();
    client.request("POST", path, body, headers);
    return client.read_response();
  }
  /// A whole answer, which must come with 200.
  Json chat(const Json& body) const {
    const ClientResponse response = post(body.dump());
    if (response.status != 200) throw std::runtime_error("refused: " + response.body);
    return Json::parse(response.body);
  }
  /// Asks for a stream and reads its head, which must come with 200.
  HttpClient start_stream(const Json& body) const {
    HttpClient client = connect();
    client.request("POST", "/v1/chat/completions", with(body, {{"stream", true}}).dump());
    const ClientResponse head = client.read_head();
    if (head.status != 200) throw std::runtime_error("refused");
    return client;
  }
  ChatStream stream(const Json& body) const {
    HttpClient client = start_stream(body);
    return read_stream(client);
  }

  /// Waits until that holds of the engine's counts.
  void wait_for_stats(const std::function<bool(const engine::EngineStats&)>& condition) const {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (!condition(service_->stats())) {
      if (std::chrono::steady_clock::now() > limit) throw std::runtime_error("waited in vain");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  StepGate gate;

 private:
  static serve::ApiOptions on_any_port(serve::ApiOptions options) {
    options.http.port = 0;
    return options;
  }

  serve::ApiServer server_;
  engine::EngineOptions engine_;
  std::unique_ptr<serve::ChatService> service_;  // after the server: its answers use that
  std::thread thread_;
};

}  // namespace lethe::testing
