#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json_py.h"
#include "serve/chat_service.h"
#include "serve/served_model.h"

namespace lethe::mini {

/// A tool call in an answer; arguments as JSON text.
struct AnsweredCall {
  std::string name;
  std::string arguments;
};

/// What came back for a request.
struct Answer {
  std::string text;
  std::string reasoning;
  std::vector<AnsweredCall> calls;
  std::string finish_reason;
  std::string error;  ///< why there is no whole answer; else empty
  serve::ChatUsage usage;
};

/// A model that answers questions as a server's clients get them answered, the likeliest token each
/// time.
class Examinee {
 public:
  /// The model must outlive it.
  explicit Examinee(serve::ServedModel& model);

  const serve::ServedModel& model() const { return service_.model(); }

  /// Bodies of POST /chat/completions; they run together. Sampling is set here.
  std::vector<Answer> ask(const std::vector<Json>& bodies);
  Answer ask(const Json& body) { return ask(std::vector<Json>{body}).front(); }

 private:
  serve::ChatService service_;
};

/// A body with the messages; thinking on or off.
Json chat_body(Json messages, bool thinking);
/// The same with one user message.
Json question_body(const std::string& question, bool thinking);

}  // namespace lethe::mini
