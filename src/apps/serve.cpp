#include <fmt/chrono.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <thread>

#include "apps/commands.h"
#include "apps/interrupt_guard.h"
#include "apps/model_options.h"
#include "base/error.h"
#include "serve/api/api_server.h"

namespace lethe::apps {
namespace {

struct ServeOptions {
  ModelOptions model;
  serve::ApiOptions api;
  int64_t max_running = 0;
  int64_t max_waiting = 0;
  bool quiet = false;
};

/// A name is resolved by the server: only names that are an address by themselves count.
bool is_loopback(const std::string& host) {
  const bool is_127 =
      host.rfind("127.", 0) == 0 && host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || host == "::1" || is_127;
}

/// In one piece, since many threads write. That the log cannot be written is no reason to end.
void log_line(const std::string& text) {
  const std::time_t now = std::time(nullptr);
  const std::string line = fmt::format("{:%Y-%m-%d %H:%M:%S} {}\n", fmt::localtime(now), text);
  static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
}

/// The signals that ask for an end, and one to wake the thread that waits for them. Those that the
/// program was started to ignore (nohup, a script's background job) stay ignored: blocked, they
/// would be kept and taken all the same.
sigset_t end_signals() {
  sigset_t set = {};
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action = {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&set, signal);
  }
  sigaddset(&set, SIGUSR1);
  return set;
}

/// Takes the signals that ask for an end on a thread of its own. All threads must have them
/// blocked.
class SignalThread {
 public:
  explicit SignalThread(std::function<void()> on_signal) {
    thread_ = std::thread([this, on_signal = std::move(on_signal)] {
      for (int signal = 0; !done_; sigwait(&set_, &signal)) {
        if (signal != 0 && signal != SIGUSR1) on_signal();
      }
    });
  }
  ~SignalThread() {
    done_ = true;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  sigset_t set_ = end_signals();
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

/// Runs a server on a thread of its own.
class ServerThread {
 public:
  explicit ServerThread(serve::ApiServer& server)
      : server_(server), thread_([this] { server_.run(); }) {}
  ~ServerThread() {
    if (!thread_.joinable()) return;
    server_.stop();
    server_.stop();  // without a model nothing is being answered: nobody waits for it
    server_.stop();
    thread_.join();
  }
  ServerThread(const ServerThread&) = delete;
  ServerThread& operator=(const ServerThread&) = delete;
  void join() { thread_.join(); }

 private:
  serve::ApiServer& server_;
  std::thread thread_;
};

/// The server answers /health while the model is being loaded.
void serve_until_signal(const ServeOptions& options) {
  const sigset_t blocked = end_signals();
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);  // for the threads that start from here on, too
  std::signal(SIGPIPE, SIG_IGN);                  // whoever read the log may have gone
  serve::ApiServer server(options.api);
  std::atomic<bool> loaded = false;
  const SignalThread signals([&] {
    if (!loaded) std::_Exit(kInterruptedStatus);
    if (!options.quiet) log_line("ending: running answers have 30 s; again to end them now");
    server.stop();
  });
  ServerThread transport(server);
  const auto model = open_model(options.model, options.quiet);
  engine::EngineOptions engine = engine_options(options.model);
  if (options.max_running > 0) engine.max_running = options.max_running;
  if (options.max_waiting > 0) engine.max_waiting = options.max_waiting;
  serve::ChatService service(*model, engine);
  server.set_service(service);
  loaded = true;
  if (!options.quiet) {
    log_line(fmt::format("{} ({} tokens of context, {} threads) is served at {}/v1", model->id(),
                         model->context_length(), model->num_threads(), server.url()));
  }
  transport.join();
}

void serve(const ServeOptions& options) {
  const std::string& host = options.api.http.host;
  if (!is_loopback(host) && options.api.api_key.empty()) {
    throw UsageError(
        "--host {}: anybody who reaches this machine could use the model. Give a key that clients "
        "must send (--api-key KEY, or the environment variable LETHE_API_KEY).",
        host);
  }
  serve_until_signal(options);
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      app.add_subcommand("serve", "HTTP server with DeepSeek's and OpenAI's chat API");
  serve::ApiOptions& api = options->api;
  command->add_option("--host", api.http.host, "Address to listen on")->capture_default_str();
  command->add_option("--port", api.http.port, "Port; 0: any free one")->capture_default_str();
  command
      ->add_option("--api-key", api.api_key,
                   "Key that clients must send (environment: LETHE_API_KEY)")
      ->envname("LETHE_API_KEY");
  command->add_flag("--strict-models", api.strict_models,
                    "Refuse model names that /v1/models does not list");
  command->add_flag("--openai-usage", api.usage_in_own_chunk,
                    "End streams with usage as OpenAI does: a chunk of its own, if asked for");
  command
      ->add_option("--max-body", api.http.max_body_bytes,
                   "Size of a request at most (default: 64MiB)")
      ->transform(CLI::AsSizeValue(true));
  command->add_option("--max-running", options->max_running, "Requests computed at a time (16)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}));
  command
      ->add_option("--max-waiting", options->max_waiting,
                   "Requests that may wait; more are refused with 429 (256)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_flag("-q,--quiet", options->quiet, "No line per request, no notices");
  add_model_options(*command, options->model);
  command->callback([options] {
    if (!options->quiet) options->api.log = log_line;
    serve(*options);
  });
}

}  // namespace lethe::apps
