#pragma once

namespace CLI {
class App;
}

namespace lethe::apps {

// Each adds one subcommand of the `lethe` program, options and callback, to `app`. One file per
// command. The callback throws lethe::Error; main prints it and exits with its code.
void add_bench(CLI::App& app);
void add_chat(CLI::App& app);
void add_inspect(CLI::App& app);
void add_logits(CLI::App& app);
void add_plan(CLI::App& app);
void add_run(CLI::App& app);
void add_serve(CLI::App& app);
void add_synth(CLI::App& app);
void add_tokenize(CLI::App& app);

}  // namespace lethe::apps
