#include "mini/examinee.h"

#include <future>
#include <memory>
#include <utility>

namespace lethe::mini {

namespace {

constexpr int64_t kMaxTokens = 400;
/// So many at most wait in the engine.
constexpr size_t kBatch = 200;

/// Keeps an answer until it is complete.
class Collector : public serve::ChatListener {
 public:
  void on_update(serve::ChatUpdate update) override {
    for (StreamEvent& event : update.events) take(event);
  }

  void on_result(const serve::ChatResult& result) noexcept override {
    answer_.finish_reason = result.finish_reason;
    answer_.error = result.error;
    answer_.usage = result.usage;
    ended_.set_value();
  }

  Answer wait() {
    ended_.get_future().wait();
    return std::move(answer_);
  }

 private:
  void take(StreamEvent& event) {
    switch (event.kind) {
      case StreamEvent::Kind::reasoning:
        answer_.reasoning += event.text;
        break;
      case StreamEvent::Kind::content:
        answer_.text += event.text;
        break;
      case StreamEvent::Kind::call_begin:
        answer_.calls.push_back({std::move(event.text), {}});
        break;
      case StreamEvent::Kind::call_arguments:
        answer_.calls.back().arguments += event.text;
        break;
      case StreamEvent::Kind::call_end:
        break;
    }
  }

  Answer answer_;
  std::promise<void> ended_;
};

}  // namespace

Examinee::Examinee(serve::ServedModel& model) : service_(model, engine::EngineOptions{}) {}

std::vector<Answer> Examinee::ask(const std::vector<Json>& bodies) {
  std::vector<Answer> answers;
  for (size_t begin = 0; begin < bodies.size(); begin += kBatch) {
    std::vector<std::shared_ptr<Collector>> collectors;
    for (size_t i = begin; i < std::min(bodies.size(), begin + kBatch); ++i) {
      ChatRequest request = parse_chat_request(bodies[i], model().profile());
      request.parameters.temperature = 0;
      request.parameters.max_tokens = kMaxTokens;
      collectors.push_back(std::make_shared<Collector>());
      service_.start(service_.prepare(request), collectors.back());
    }
    for (const auto& collector : collectors) answers.push_back(collector->wait());
  }
  return answers;
}

Json chat_body(Json messages, bool thinking) {
  return {{"messages", std::move(messages)},
          {"thinking", {{"type", thinking ? "enabled" : "disabled"}}}};
}

Json question_body(const std::string& question, bool thinking) {
  return chat_body(Json::array({{{"role", "user"}, {"content", question}}}), thinking);
}

}  // namespace lethe::mini
