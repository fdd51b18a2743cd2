#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mini/exam_papers.h"
#include "mini/random_stream.h"
#include "text/tokenizer.h"

namespace lethe::mini {

/// A fact in a text: how it is asked for, and the answer, which is the fact.
struct LookupQuestion {
  std::string question;
  std::string answer;
  double depth = 0;  ///< where the fact stands: 0 at the beginning of the text, 1 at its end
};

struct LookupText {
  std::string text;
  std::vector<LookupQuestion> questions;
};

/// What the asked facts say of their keys: a number, or a word.
enum class LookupValues { numbers, words };

/// Texts with facts about invented people and things, other facts of the same form and unrelated
/// lines around them.
class LookupTexts {
 public:
  LookupTexts(const ExamPapers& papers, const Tokenizer& tokenizer)
      : papers_(papers), tokenizer_(tokenizer) {}

  /// A text of about `num_tokens` with that many questions about `values`, at depths that divide it
  /// evenly.
  LookupText make(int64_t num_tokens, LookupValues values, int64_t num_questions,
                  uint64_t seed) const;

 private:
  struct Fact {
    std::string key;
    std::string question;
    std::string statement;
  };
  Fact make_fact(LookupValues values, RandomStream& random) const;

  const ExamPapers& papers_;
  const Tokenizer& tokenizer_;
};

}  // namespace lethe::mini
