#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "apps/answer_printer.h"
#include "apps/commands.h"
#include "apps/model_options.h"
#include "apps/sampling_options.h"
#include "base/error.h"
#include "serve/chat_service.h"

namespace lethe::apps {
namespace {

constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells count

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string prompt;
  bool has_prompt = false;
  std::string system;
  bool raw = false;
  bool hide_thinking = false;
  bool quiet = false;
};

std::string read_prompt(const RunOptions& options) {
  if (options.has_prompt) return options.prompt;
  if (::isatty(STDIN_FILENO) == 1 && !options.quiet) {
    fmt::print(stderr, "lethe: type the prompt, then Ctrl-D\n");
  }
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

serve::PreparedRequest prepare(const RunOptions& options, const serve::ChatService& service,
                               const std::string& prompt) {
  if (options.raw) {
    serve::TextRequest request;
    request.text = prompt;
    request.stop = options.sampling.stop;
    request.parameters = options.sampling.parameters;
    return service.prepare(request);
  }
  ChatRequest request;
  if (!options.system.empty()) {
    request.messages.emplace_back().role = RequestRole::system;
    request.messages.back().content = Prompt::client(options.system);
  }
  request.messages.emplace_back().content = Prompt::client(prompt);
  request.stop = options.sampling.stop;
  request.parameters = options.sampling.parameters;
  set_thinking(request, options.sampling.think);
  return service.prepare(request);
}

void run(const RunOptions& options) {
  if (options.raw && (!options.system.empty() || !options.sampling.think.empty())) {
    throw UsageError("--raw takes the text as it stands: --system and --think belong to a chat");
  }
  ChatRequest checked;
  set_thinking(checked, options.sampling.think);  // a wrong word is told before the model loads
  const std::string prompt = read_prompt(options);
  const auto model = open_model(options.model, options.quiet);
  serve::ChatService service(*model, engine_options(options.model));
  const auto printer = std::make_shared<AnswerPrinter>(
      AnswerPrinter::Options{.show_thinking = !options.hide_thinking});
  const InterruptGuard guard;
  const engine::RequestId id = service.start(prepare(options, service, prompt), printer);
  const serve::ChatResult result = printer->wait(service, id, InterruptGuard::flag());
  if (!options.quiet) fmt::print(stderr, "lethe: {}\n", usage_text(result));
  if (result.cancelled) throw CLI::RuntimeError(kInterrupted);
  if (!result.error.empty()) throw Error("the answer is not complete: {}", result.error);
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "One answer to stdout");
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt,
                                            "What to say to the model (default: read from stdin)");
  command->add_option("--system", options->system, "System message");
  command->add_flag("--raw", options->raw,
                    "Continue the text as it stands, without the chat format");
  command->add_flag("--hide-thinking", options->hide_thinking, "Do not print thinking to stderr");
  command->add_flag("-q,--quiet", options->quiet, "No notices and figures on stderr");
  add_sampling_options(*command, options->sampling);
  add_model_options(*command, options->model);
  command->callback([options, prompt] {
    options->has_prompt = prompt->count() > 0;
    run(*options);
  });
}

}  // namespace lethe::apps
