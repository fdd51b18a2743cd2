#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "apps/answer_printer.h"
#include "apps/attachment.h"
#include "apps/commands.h"
#include "apps/interrupt_guard.h"
#include "apps/model_options.h"
#include "apps/sampling_options.h"
#include "apps/text_file.h"
#include "base/error.h"
#include "serve/chat_service.h"

namespace lethe::apps {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string prompt;
  bool has_prompt = false;
  std::vector<std::string> files;
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

/// Wrong options are told before the model loads.
void check(const RunOptions& options) {
  if (options.raw && (!options.system.empty() || !options.sampling.think.empty())) {
    throw UsageError("--raw takes the text as it stands: --system and --think belong to a chat");
  }
  if (options.raw && !options.files.empty()) {
    throw UsageError("--raw takes the text as it stands: use < FILE in place of --file FILE");
  }
  ChatRequest words;
  set_thinking(words, options.sampling.think);
  check_utf8(options.system, "--system");
}

/// The message to answer: the files, then the prompt.
std::string message_text(const RunOptions& options) {
  std::vector<Attachment> files;
  for (const std::string& path : options.files) files.push_back(load_attachment(path));
  const std::string prompt = read_prompt(options);
  if (options.raw) return prompt;
  check_utf8(prompt, "the prompt");
  if (prompt.find_first_not_of(" \t\n") == std::string::npos) {
    throw UsageError("the prompt is empty: name it, or write it to stdin");
  }
  return with_attachments(files, prompt);
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
  if (options.sampling.think.empty() && !service.model().can_think()) request.thinking = false;
  return service.prepare(request);
}

void run(const RunOptions& options) {
  check(options);
  const std::string message = message_text(options);
  const auto model = open_model(options.model, options.quiet);
  serve::ChatService service(*model, engine_options(options.model));
  serve::PreparedRequest prepared = prepare(options, service, message);
  const auto printer = std::make_shared<AnswerPrinter>(
      AnswerPrinter::Options{.show_thinking = !options.hide_thinking});
  const InterruptGuard guard(InterruptGuard::Second::ends_program);
  const engine::RequestId id = service.start(std::move(prepared), printer);
  const serve::ChatResult result = printer->wait(service, id, InterruptGuard::flag());
  if (!options.quiet) fmt::print(stderr, "lethe: {}\n", usage_text(result));
  if (result.cancelled) throw CLI::RuntimeError(kInterruptedStatus);
  if (!result.error.empty()) throw Error("the answer is not complete: {}", result.error);
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "One answer to stdout");
  CLI::Option* prompt = command->add_option("prompt,-p,--prompt", options->prompt,
                                            "What to say to the model (default: read from stdin)");
  command->add_option("--system", options->system, "System message");
  command
      ->add_option("-f,--file", options->files, "Text file to go with the prompt; may be repeated")
      ->allow_extra_args(false);
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
