#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/attachment.h"
#include "apps/chat_session.h"
#include "apps/message_reader.h"
#include "serve/chat_service.h"

namespace lethe::apps {

struct ChatLoopOptions {
  bool hide_thinking = false;
  bool quiet = false;  ///< no notices, only errors and what is asked for
};

/// A conversation between a person and a model: reads messages and commands, prints answers. What
/// goes wrong is told and never ends it. What the model says goes to stdout, all else to stderr.
/// One thread.
class ChatLoop {
 public:
  ChatLoop(serve::ChatService& service, LineReader& lines, ChatSession session,
           const ChatLoopOptions& options);

  /// Adds a file to the next message. Throws UsageError.
  void attach(const std::string& path);
  /// Until /quit or the end of the input. False: something went wrong on the way.
  bool run();

 private:
  struct Command {
    std::string_view name;
    std::string_view argument;  ///< as help shows it
    std::string_view help;
    void (ChatLoop::*run)(const std::string& argument);
  };
  static const std::vector<Command>& commands();

  // chat_loop.cpp
  void take(const MessageReader::Message& message);
  void dispatch(const MessageReader::Message& message);
  void say(const std::string& text);
  bool answer(ChatSession next);
  bool take_answer();
  void count(const serve::ChatResult& result);
  void tell_end(const serve::ChatResult& result) const;
  void notice(const std::string& text) const;

  // chat_commands.cpp
  void run_command(const std::string& line);
  void check_settings(const ChatSession& session) const;
  void help(const std::string&);
  void change_system(const std::string& text);
  void change_thinking(const std::string& word);
  void add_file(const std::string& path);
  void save(const std::string& path);
  void load(const std::string& path);
  void show_stats(const std::string&);
  void clear(const std::string&);
  void retry(const std::string&);
  void undo(const std::string&);
  void quit(const std::string&);

  serve::ChatService& service_;
  bool is_terminal_;
  MessageReader reader_;
  ChatSession session_;
  ChatLoopOptions options_;
  std::vector<Attachment> files_;          ///< for the next message
  std::optional<std::string> unanswered_;  ///< a message that was taken back for want of an answer
  struct Totals {
    int64_t answers = 0;
    int64_t prompt_tokens = 0;
    int64_t cached_tokens = 0;
    int64_t completion_tokens = 0;
  };
  Totals totals_;
  std::optional<serve::ChatResult> last_;  ///< of the latest answer
  std::string file_;                       ///< last saved or loaded
  bool ends_ = false;
  bool failed_ = false;
};

}  // namespace lethe::apps
