#include "apps/builtin_model.h"

#include <filesystem>

#include "base/error.h"

namespace lethe::apps {

namespace {

namespace fs = std::filesystem;

fs::path program_directory() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : program.parent_path();
}

}  // namespace

std::string model_path(const std::string& name) {
  // Whoever opens a path says best what is wrong with it.
  if (name.find('/') != std::string::npos) return name;
  const fs::path program = program_directory();
  std::error_code absent;
  for (const fs::path& place :
       {program / "models", program.parent_path() / "share" / "lethe" / "models"}) {
    if (!program.empty() && fs::exists(place / name, absent)) return (place / name).string();
  }
  if (fs::exists(name, absent)) return name;
  if (name == kDefaultModel) {
    throw UsageError(
        "the built-in model '{}' is not beside the program (models/{}), nor installed: name a "
        "model "
        "with -m.",
        name, name);
  }
  throw UsageError(
      "-m {}: no such file or directory. A model is a directory with the released files, a .gguf, "
      "or the name of the built-in model, '{}'.",
      name, kDefaultModel);
}

std::string_view builtin_notice(std::string_view name) {
  if (name == "mini") {
    return "built-in model 'mini': a small V4.1, trained to show that everything works (what it "
           "can "
           "do: docs/mini.md). Name a real one with -m.";
  }
  if (name == "tiny") {
    return "built-in model 'tiny': V4.1 with random weights, a few MB. Everything runs as in the "
           "real model, but its words mean nothing. Name a real one with -m.";
  }
  return "";
}

}  // namespace lethe::apps
