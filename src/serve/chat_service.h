#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "engine/engine.h"
#include "serve/chat_listener.h"
#include "serve/served_model.h"
#include "text/chat_request.h"

namespace lethe::serve {

/// Completion of a text as it stands, without a prompt format.
struct TextRequest {
  std::string text;
  bool begin_of_sentence = true;  ///< BOS first
  std::vector<std::string> stop;
  RequestParameters parameters;
};

/// A request that passed every check: only the engine's queue can refuse it now.
struct PreparedRequest {
  engine::Request request;
  StreamParserOptions parser;
  bool thinking = false;
};

/// Conversations with a model: requests become prompts and tokens, tokens become reasoning, answer
/// and tool calls. The one way in for the command line and the server alike (design section 5).
/// Any thread.
class ChatService {
 public:
  /// Starts an engine on the model, which must outlive the service. `check` is called before each
  /// forward pass, on the engine's thread, and may throw: all that runs fails then. It comes on top
  /// of the check that the model's files are what they were.
  ChatService(ServedModel& model, const engine::EngineOptions& options,
              std::function<void()> check = {});

  /// Renders and tokenises. Throws RequestError, PromptError, UsageError or
  /// engine::ContextLengthError for what cannot be run. Takes time that grows with the text.
  PreparedRequest prepare(const ChatRequest& request) const;
  PreparedRequest prepare(const TextRequest& request) const;

  /// Throws engine::BusyError if too many wait, engine::ShutDownError after shut_down(); the
  /// listener hears nothing then. It is kept until its on_result().
  engine::RequestId start(PreparedRequest prepared, std::shared_ptr<ChatListener> listener);
  void cancel(engine::RequestId id) { engine_.cancel(id); }
  /// Ends all answers with insufficient_system_resource, without waiting for them.
  void shut_down() { engine_.shut_down(); }

  const ServedModel& model() const noexcept { return model_; }
  engine::EngineStats stats() const { return engine_.stats(); }

 private:
  engine::Request make_request(std::vector<int32_t> prompt, const RequestParameters& parameters,
                               int64_t default_max_tokens) const;
  int64_t default_max_tokens(int64_t prompt_tokens, int64_t wanted) const;

  ServedModel& model_;
  engine::Engine engine_;
};

}  // namespace lethe::serve
