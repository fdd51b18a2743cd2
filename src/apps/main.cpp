#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "apps/commands.h"
#include "base/error.h"
#include "base/keep_freed_memory.h"

int main(int argc, char** argv) {
  lethe::keep_freed_memory();
  // A file size limit then fails a write with a reason, instead of ending the process.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app{"Lethe: runs the DeepSeek V4 family on the machines people have", "lethe"};
  app.require_subcommand(1);
  app.set_version_flag("--version", LETHE_VERSION);
  lethe::apps::add_bench(app);
  lethe::apps::add_chat(app);
  lethe::apps::add_inspect(app);
  lethe::apps::add_logits(app);
  lethe::apps::add_plan(app);
  lethe::apps::add_run(app);
  lethe::apps::add_serve(app);
  lethe::apps::add_synth(app);
  lethe::apps::add_tokenize(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const lethe::Error& error) {
    fmt::print(stderr, "lethe: {}\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    fmt::print(stderr, "lethe: internal error: {}\n", error.what());
    return 70;
  }
  return 0;
}
