#pragma once

#include <string>

#include "base/json_py.h"
#include "mini/exams.h"
#include "mini/text_loss.h"

namespace lethe::mini {

/// Results of a run: a line of a table each, printed as they come, or one JSON document at the end.
class Report {
 public:
  explicit Report(bool as_json) : as_json_(as_json) {}

  void add(const std::string& exam, const Score& score, double seconds);
  void add(const std::string& exam, const TextLoss& loss, double seconds);
  /// Prints what waits for the end.
  void finish() const;

 private:
  void add(Json row, const std::string& figure, double seconds);

  bool as_json_;
  Json rows_ = Json::array();
};

}  // namespace lethe::mini
