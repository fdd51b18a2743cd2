#include "base/error.h"

#include <CLI/CLI.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  CLI::App app{"Lethe: runs the DeepSeek V4 family on the machines people have"};
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
