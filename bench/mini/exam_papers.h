#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json_py.h"

namespace lethe::mini {

struct Definition {
  std::string word;
  std::string gloss;
};

/// A question that one of the tools answers.
struct ToolCase {
  Json tools;  ///< as in a chat request
  std::string question;
  std::string name;
  Json arguments;
};

/// A conversation that ends with a question about what was said.
struct MemoryCase {
  Json messages;
  std::string answer;
};

/// What the small model is examined with (written by tools/train/make_eval.py).
struct ExamPapers {
  /// Throws LoadError.
  static ExamPapers load(const std::string& directory);

  std::vector<Definition> definitions;
  std::vector<std::string> definition_questions;  ///< {w} stands for the word
  std::vector<ToolCase> tool_cases;
  std::vector<MemoryCase> memory_cases;
  std::vector<std::string> held_out;  ///< lines that training did not have
  std::vector<std::string> names;
  std::vector<std::string> cities;
  std::vector<std::string> adjectives;
  std::vector<std::string> things;
  std::vector<std::string> places;
};

}  // namespace lethe::mini
