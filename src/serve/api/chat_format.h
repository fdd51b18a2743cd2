#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_py.h"
#include "serve/chat_listener.h"
#include "text/tokenizer.h"

namespace lethe::serve {

/// What all JSON about one answer of POST /chat/completions has in common.
struct ChatFormat {
  std::string id;
  std::string model;  ///< as the client named it
  int64_t created = 0;
  bool thinking = true;
  bool include_usage = false;
  bool usage_in_own_chunk = false;  ///< OpenAI's form instead of DeepSeek's

  std::string call_id(size_t index) const;

  /// A chunk of a stream. `logprobs`: null or an object. `finish_reason` empty: null.
  Json chunk(Json delta, Json logprobs = nullptr, const std::string& finish_reason = {}) const;
  Json first_delta() const;
  Json delta(const StreamEvent& event) const;
  Json last_delta() const;
  /// The last chunks, usage included (spec api.md section 2.3).
  std::vector<Json> last_chunks(const ChatResult& result, Json logprobs) const;
};

/// The usage object (section 2.2).
Json usage_json(const ChatUsage& usage);

/// Log probabilities of an answer, as they gather.
class LogprobsJson {
 public:
  explicit LogprobsJson(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(const engine::SampledToken& token, bool is_reasoning);
  /// {"content": [...], "reasoning_content": [...]} of what came since the last call; null if
  /// nothing did.
  Json take();

 private:
  const Tokenizer& tokenizer_;
  Json content_ = Json::array();
  Json reasoning_ = Json::array();
};

/// A whole answer, put together from its events.
class ChatMessageBuilder {
 public:
  void add(const std::vector<StreamEvent>& events);
  /// The body of a response that is not streamed (section 2.2). Calls that the model did not finish
  /// although it ended its turn are left out.
  Json response(const ChatFormat& format, const ChatResult& result, Json logprobs) const;

 private:
  struct Call {
    std::string name;
    std::string arguments;
    bool complete = false;
  };
  std::string content_;
  std::string reasoning_;
  std::vector<Call> calls_;
};

}  // namespace lethe::serve
