#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mini/exam_papers.h"
#include "mini/examinee.h"
#include "mini/lookup_text.h"

namespace lethe::mini {

/// How an exam went.
struct Score {
  int64_t right = 0;
  int64_t asked = 0;
  std::string first_fault;  ///< what was asked, expected and answered where it first went wrong

  double share() const {
    return asked == 0 ? 0 : static_cast<double>(right) / static_cast<double>(asked);
  }
};

/// An exam asks at most `limit` of its questions, spread over all of them.
struct ExamOptions {
  int64_t limit = 1000;
  bool thinking = false;
  bool new_wordings = false;  ///< of definitions: ways to ask that training did not have
};

/// Nouns: what does each mean? Right: the gloss, word for word.
Score examine_definitions(Examinee& examinee, const ExamPapers& papers, const ExamOptions& options);

/// Facts in texts of about `num_tokens`, ten questions a text; right: the fact as it stands there.
Score examine_lookup(Examinee& examinee, const ExamPapers& papers, int64_t num_tokens,
                     LookupValues values, const ExamOptions& options);

/// Sums, differences and products with up to `num_digits` digits; right: the result.
Score examine_arithmetic(Examinee& examinee, int64_t num_digits, const ExamOptions& options);

/// Tools that training did not have. Valid: one call of a declared tool with arguments that fit its
/// schema. Right: the tool and the arguments that were meant.
struct ToolScores {
  Score valid;
  Score valid_snake_case;  ///< of those where the tool to call has no capital in its name
  Score right;
};
ToolScores examine_tools(Examinee& examinee, const ExamPapers& papers, const ExamOptions& options);

/// Things the user said some turns before; right: the answer that training would give.
Score examine_memory(Examinee& examinee, const ExamPapers& papers, const ExamOptions& options);

}  // namespace lethe::mini
