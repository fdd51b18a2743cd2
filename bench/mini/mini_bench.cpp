// What the built-in model can do: exams of its behaviour, and the worth of its parts.
//
//   mini_bench [-m MODEL] [--limit N] [--lengths 1024,4096,...] [--parts definitions,lookup,...]
//              [--lookup-values numbers,words] [--json]
//
// Questions are answered greedily by the engine, as a server's clients get them answered.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "mini/engram_eraser.h"
#include "mini/exam_papers.h"
#include "mini/examinee.h"
#include "mini/exams.h"
#include "mini/report.h"
#include "mini/text_loss.h"

namespace {

using namespace lethe;
using namespace lethe::mini;

struct BenchOptions {
  std::string model = LETHE_MINI_MODEL;
  std::string papers = LETHE_MINI_PAPERS;
  std::vector<std::string> parts = {"definitions", "memory", "tools",   "arithmetic",
                                    "lookup",      "engram", "numerics"};
  std::vector<std::string> lookup_values = {"numbers", "words"};
  std::vector<int64_t> lengths = {1024, 1800, 4096, 16384, 65536};
  int64_t limit = 500;
  int64_t lookup_limit = 100;
  int64_t loss_tokens = 20000;
  int threads = 0;
  bool json = false;
};

class Bench {
 public:
  explicit Bench(const BenchOptions& options)
      : options_(options), papers_(ExamPapers::load(options.papers)), report_(options.json) {}

  void run() {
    for (const std::string& part : options_.parts) run(part);
    report_.finish();
  }

 private:
  void run(const std::string& part) {
    if (part == "engram") return compare_engram();
    if (part == "numerics") return compare_numerics();
    serve::ServedModel model(model_options(options_.model));
    Examinee examinee(model);
    for (const bool thinking : {false, true}) examine(part, examinee, thinking);
  }

  void examine(const std::string& part, Examinee& examinee, bool thinking) {
    ExamOptions exam{.limit = options_.limit, .thinking = thinking};
    const std::string mode = thinking ? ", thinking" : "";
    if (part == "definitions") {
      timed(part + mode, [&] { return examine_definitions(examinee, papers_, exam); });
      exam.new_wordings = true;
      timed(part + ", new wordings" + mode,
            [&] { return examine_definitions(examinee, papers_, exam); });
    } else if (part == "memory") {
      timed(part + mode, [&] { return examine_memory(examinee, papers_, exam); });
    } else if (part == "arithmetic") {
      for (const int64_t digits : {1, 2, 3, 4}) {
        timed(fmt::format("{}, {} digits{}", part, digits, mode),
              [&] { return examine_arithmetic(examinee, digits, exam); });
      }
    } else if (part == "tools") {
      ToolScores scores;
      timed("tools, right" + mode, [&] {
        scores = examine_tools(examinee, papers_, exam);
        return scores.right;
      });
      timed("tools, valid" + mode, [&] { return scores.valid; });
      timed("tools, valid, snake_case" + mode, [&] { return scores.valid_snake_case; });
    } else if (part == "lookup" && !thinking) {
      for (const int64_t length : options_.lengths) {
        for (const std::string& values : options_.lookup_values) {
          timed(fmt::format("{} of {}, {} tokens", part, values, length), [&] {
            return examine_lookup(examinee, papers_, length,
                                  values == "words" ? LookupValues::words : LookupValues::numbers,
                                  {.limit = options_.lookup_limit});
          });
        }
      }
    }
  }

  /// The model as it is, and with empty Engram tables.
  void compare_engram() {
    const auto erased =
        std::filesystem::temp_directory_path() /
        fmt::format("lethe-mini-{}", std::chrono::steady_clock::now().time_since_epoch().count());
    copy_without_engram(options_.model, erased.string());
    compare("Engram live", options_.model, ops::Numerics::Fast, true);
    compare("Engram zeroed", erased.string(), ops::Numerics::Fast, true);
    std::filesystem::remove_all(erased);
  }

  void compare_numerics() {
    for (const auto numerics : {ops::Numerics::Fast, ops::Numerics::Official, ops::Numerics::F32}) {
      compare(fmt::format("numerics {}", ops::numerics_name(numerics)), options_.model, numerics,
              false);
    }
  }

  void compare(const std::string& name, const std::string& path, ops::Numerics numerics,
               bool with_recall) {
    serve::ServedModelOptions options = model_options(path);
    options.numerics = numerics;
    serve::ServedModel model(options);
    timed(name + ", plain text",
          [&] { return text_loss(model, papers_.held_out, 30, options_.loss_tokens); });
    timed(name + ", glosses", [&] { return gloss_loss(model); });
    if (!with_recall) return;
    Examinee examinee(model);
    timed(name + ", definitions",
          [&] { return examine_definitions(examinee, papers_, {.limit = options_.limit}); });
  }

  TextLoss gloss_loss(serve::ServedModel& model) const {
    std::vector<std::string> questions;
    std::vector<std::string> answers;
    for (const Definition& definition : papers_.definitions) {
      questions.push_back(fmt::format("What does {} mean?", definition.word));
      answers.push_back(
          fmt::format("The word {} means \"{}\".", definition.word, definition.gloss));
    }
    return answer_loss(model, questions, answers);
  }

  serve::ServedModelOptions model_options(const std::string& path) const {
    return {.path = path, .threads = options_.threads};
  }

  template <typename Exam>
  void timed(const std::string& name, Exam&& exam) {
    const auto begin = std::chrono::steady_clock::now();
    const auto result = exam();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    report_.add(name, result, taken.count());
  }

  const BenchOptions& options_;
  ExamPapers papers_;
  Report report_;
};

}  // namespace

int main(int argc, char** argv) {
  BenchOptions options;
  CLI::App app("What the built-in model can do");
  app.add_option("-m,--model", options.model, "Directory of the model")->capture_default_str();
  app.add_option("--papers", options.papers, "Directory of the questions")->capture_default_str();
  app.add_option("--parts", options.parts, "Which exams")->delimiter(',')->capture_default_str();
  app.add_option("--lengths", options.lengths, "Tokens of the lookup texts")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--limit", options.limit, "Questions of an exam")->capture_default_str();
  app.add_option("--lookup-limit", options.lookup_limit, "Questions for each text length")
      ->capture_default_str();
  app.add_option("--lookup-values", options.lookup_values, "What lookup asks for")
      ->delimiter(',')
      ->check(CLI::IsMember({"numbers", "words"}))
      ->capture_default_str();
  app.add_option("--loss-tokens", options.loss_tokens, "Tokens of plain text for a loss")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "0: all CPUs")->capture_default_str();
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    Bench(options).run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "mini_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
