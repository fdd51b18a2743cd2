#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/chat_loop.h"
#include "apps/commands.h"
#include "apps/inspection.h"
#include "apps/line_history.h"
#include "apps/model_options.h"
#include "apps/sampling_options.h"
#include "apps/saved_chat.h"
#include "apps/text_file.h"
#include "apps/units.h"
#include "base/error.h"
#include "base/printable.h"
#include "serve/chat_service.h"

namespace lethe::apps {
namespace {

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
  std::vector<std::string> files;
  std::string load;
  bool hide_thinking = false;
  bool quiet = false;
};

/// The settings of the command line over those of the conversation to go on with.
ChatSession open_session(const ChatOptions& options, const serve::ServedModel& model) {
  ChatRequest request;
  if (!options.load.empty()) request = load_chat(options.load, model.profile());
  request.parameters = merged_parameters(options.sampling.parameters, request.parameters);
  if (!options.sampling.stop.empty()) request.stop = options.sampling.stop;
  if (!options.sampling.think.empty() || options.load.empty()) {
    set_thinking(request, options.sampling.think);
  }
  if (options.sampling.think.empty() && !model.can_think()) request.thinking = false;
  ChatSession session(std::move(request));
  if (!options.system.empty()) session.set_system(options.system);
  return session;
}

/// Settings that this model refuses are better told now than with the first message.
void check(const serve::ChatService& service, ChatSession session) {
  if (session.empty()) session.add_user("a");
  service.prepare(session.request());
}

void print_banner(const serve::ServedModel& model, const ChatSession& session) {
  const ModelConfig& config = model.checkpoint().config();
  fmt::print(stderr, "{} (DeepSeek {}, {} parameters), context {} tokens, thinking {}{}\n",
             printable(config.name), config.family == ModelFamily::V41 ? "V4.1" : "V4",
             parameters_text(inspect(model.checkpoint()).all.parameters), model.context_length(),
             thinking_word(session.request()), model.can_think() ? "" : " (this model cannot)");
  if (!session.empty()) {
    fmt::print(stderr, "The conversation goes on after {} messages.{}\n",
               session.request().messages.size(),
               session.awaits_answer() ? " The last has no answer: /retry gives one." : "");
  }
  fmt::print(stderr, "/help for help. Ctrl-C stops an answer, Ctrl-D ends.\n");
}

void chat(const ChatOptions& options) {
  ChatRequest words;
  set_thinking(words, options.sampling.think);  // a wrong word is told before the model loads
  check_utf8(options.system, "--system");
  const auto model = open_model(options.model, options.quiet);
  serve::ChatService service(*model, engine_options(options.model));
  ChatSession session = open_session(options, *model);
  check(service, session);
  if (!options.quiet) print_banner(*model, session);
  const auto lines = open_line_reader(LineHistory::default_path());
  ChatLoop loop(service, *lines, std::move(session),
                {.hide_thinking = options.hide_thinking, .quiet = options.quiet});
  for (const std::string& file : options.files) loop.attach(file);
  if (!loop.run() && !lines->is_terminal()) throw CLI::RuntimeError(1);
}

}  // namespace

void add_chat(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "A conversation at the terminal");
  command->add_option("--system", options->system, "System message");
  command
      ->add_option("-f,--file", options->files, "Text file for the first message; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--load", options->load, "Go on with a conversation that /save wrote");
  command->add_flag("--hide-thinking", options->hide_thinking, "Do not show what the model thinks");
  command->add_flag("-q,--quiet", options->quiet, "No banner and notices");
  add_sampling_options(*command, options->sampling);
  add_model_options(*command, options->model);
  command->callback([options] { chat(*options); });
}

}  // namespace lethe::apps
