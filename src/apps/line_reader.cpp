#include "apps/line_reader.h"

#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <optional>

#include "apps/line_history.h"
#include "apps/signal_pipe.h"
#include "base/error.h"
#include "base/utf8.h"
#include "text/code_point.h"
#include "text/detokenizer.h"

namespace lethe::apps {

namespace {

/// Code points as libedit has them; `text` is UTF-8.
std::wstring widened(std::string_view text) {
  std::wstring out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint code = code_point_at(text, at);
    const bool is_valid = code.kind == CodePoint::Kind::Valid;
    out += static_cast<wchar_t>(is_valid ? code.value : kReplacementCharacter);
    at += code.length;
  }
  return out;
}

std::string narrowed(std::wstring_view text) {
  std::string out;
  for (const wchar_t c : text) append_utf8(out, static_cast<char32_t>(c));
  return out;
}

/// Pasted text without the control characters that would act on the line, and without newlines at
/// its end.
std::wstring cleaned_paste(std::wstring_view pasted) {
  std::wstring out;
  for (const wchar_t c : pasted) {
    if (c == L'\r' || c == L'\n') {
      out += L'\n';
    } else if (c == L'\t' || (c >= L' ' && c != 0x7F)) {
      out += c;
    }
  }
  while (out.ends_with(L'\n')) out.pop_back();
  return out;
}

/// libedit writes and measures what it shows by the locale: only one for UTF-8 will do.
void use_utf8_locale() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

bool terminal_is_plain() {
  const char* name = std::getenv("TERM");
  return name == nullptr || *name == '\0' || std::strcmp(name, "dumb") == 0;
}

/// Lines of stdin, for scripts.
class PlainReader : public LineReader {
 public:
  bool is_terminal() const noexcept override { return false; }
  Status read(std::string_view, std::string& line) override {
    if (!std::getline(std::cin, line)) return Status::end;
    if (line.ends_with('\r')) line.pop_back();
    return Status::line;
  }
  void remember(const std::string&) override {}
};

/// The line editor. libedit reads through get_character(), so that a signal ends the wait for a key
/// at once, and bytes become code points without regard to the locale.
class TerminalReader : public LineReader {
 public:
  explicit TerminalReader(const std::string& history_path) : file_(history_path) {
    use_utf8_locale();
    editor_ = el_init("lethe", stdin, stdout, stderr);
    history_ = history_winit();
    if (editor_ == nullptr || history_ == nullptr) throw IoError("the terminal cannot be set up");
    el_wset(editor_, EL_CLIENTDATA, this);
    el_wset(editor_, EL_PROMPT, &TerminalReader::prompt_text);
    el_wset(editor_, EL_GETCFN, &TerminalReader::get_character);
    HistEventW event;
    history_w(history_, &event, H_SETSIZE, static_cast<int>(LineHistory::kEntriesMax));
    history_w(history_, &event, H_SETUNIQUE, 1);
    el_wset(editor_, EL_HIST, history_w, history_);
    for (const std::string& entry : file_.entries()) recall_later(entry);
    bind_keys();
  }
  ~TerminalReader() override {
    if (history_ != nullptr) history_wend(history_);
    if (editor_ != nullptr) el_end(editor_);
  }
  bool is_terminal() const noexcept override { return true; }
  TerminalReader(const TerminalReader&) = delete;
  TerminalReader& operator=(const TerminalReader&) = delete;

  Status read(std::string_view prompt, std::string& line) override {
    prompt_ = widened(prompt);
    SignalPipe signals;
    signals_ = &signals;
    stopped_by_.reset();
    set_paste_marks(true);
    el_wset(editor_, EL_PREP_TERM, 1);  // before the prompt shows: a key may come at once
    int length = 0;
    const wchar_t* text = el_wgets(editor_, &length);
    set_paste_marks(false);
    signals_ = nullptr;
    if (stopped_by_ || text == nullptr) {
      std::fputc('\n', stdout);
      std::fflush(stdout);
      return without_line();
    }
    line = narrowed({text, static_cast<size_t>(length)});
    if (line.ends_with('\n')) line.pop_back();
    return Status::line;
  }

  void remember(const std::string& line) override {
    recall_later(line);
    file_.add(line);
  }

 private:
  static TerminalReader& self(EditLine* editor) {
    void* data = nullptr;
    el_wget(editor, EL_CLIENTDATA, &data);
    return *static_cast<TerminalReader*>(data);
  }
  static wchar_t* prompt_text(EditLine* editor) { return self(editor).prompt_.data(); }
  static int get_character(EditLine* editor, wchar_t* out) {
    return self(editor).next_character(*out);
  }
  static unsigned char take_paste(EditLine* editor, wint_t) { return self(editor).insert_paste(); }
  static unsigned char break_line(EditLine* editor, wint_t) {
    return el_winsertstr(editor, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
  }

  void bind_keys() {
    el_wset(editor_, EL_EDITOR, L"emacs");
    el_wset(editor_, EL_ADDFN, L"lethe-paste", L"Insert pasted text", &TerminalReader::take_paste);
    el_wset(editor_, EL_ADDFN, L"lethe-newline", L"Begin a line", &TerminalReader::break_line);
    const auto bind = [&](const wchar_t* key, const wchar_t* action) {
      el_wset(editor_, EL_BIND, key, action, nullptr);
    };
    bind(L"\\e[200~", L"lethe-paste");
    bind(L"\\e\\r", L"lethe-newline");
    bind(L"\\e\\n", L"lethe-newline");
    bind(L"^R", L"em-inc-search-prev");
    bind(L"^W", L"ed-delete-prev-word");
    el_source(editor_, nullptr);  // the user's ~/.editrc, last
  }

  /// Terminals then put marks around what is pasted.
  void set_paste_marks(bool on) const {
    if (terminal_is_plain()) return;
    std::fputs(on ? "\x1b[?2004h" : "\x1b[?2004l", stdout);
    std::fflush(stdout);
  }

  void recall_later(const std::string& entry) {
    HistEventW event;
    history_w(history_, &event, H_ENTER, widened(entry).c_str());
  }

  Status without_line() {
    if (!stopped_by_) return Status::end;
    if (*stopped_by_ == SIGINT) return Status::interrupted;
    // The terminal is in order again: end as the signal demands.
    std::signal(*stopped_by_, SIG_DFL);
    std::raise(*stopped_by_);
    return Status::end;
  }

  /// As libedit's own reader: 1, or 0 at the end of the input, or -1.
  int next_character(wchar_t& out) {
    while (characters_.empty()) {
      std::array<pollfd, 2> wanted = {pollfd{STDIN_FILENO, POLLIN, 0},
                                      pollfd{signals_->fd(), POLLIN, 0}};
      if (::poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR) return -1;
      if (!take_signals()) return -1;
      if (wanted[0].revents == 0) continue;
      char byte = 0;
      const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return 0;
      if (byte == 0) continue;  // a Ctrl-D that was typed before the terminal was ours
      const std::wstring text = widened(bytes_.push({&byte, 1}));
      characters_.insert(characters_.end(), text.begin(), text.end());
    }
    out = characters_.front();
    characters_.pop_front();
    return 1;
  }

  /// False: a signal ends this line.
  bool take_signals() {
    while (const std::optional<int> signal = signals_->take()) {
      if (*signal == SIGWINCH) {
        el_resize(editor_);
      } else if (*signal == SIGCONT) {  // the shell had the terminal meanwhile
        el_wset(editor_, EL_PREP_TERM, 1);
        el_wset(editor_, EL_REFRESH);
      } else {
        stopped_by_ = *signal;
        characters_.clear();
        return false;
      }
    }
    return true;
  }

  unsigned char insert_paste() {
    constexpr std::wstring_view kEnd = L"\x1b[201~";
    std::wstring pasted;
    while (!pasted.ends_with(kEnd)) {
      wchar_t c = 0;
      if (next_character(c) != 1) return CC_EOF;
      pasted += c;
    }
    pasted.resize(pasted.size() - kEnd.size());
    const std::wstring text = cleaned_paste(pasted);
    return text.empty() || el_winsertstr(editor_, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  LineHistory file_;
  EditLine* editor_ = nullptr;
  HistoryW* history_ = nullptr;
  std::wstring prompt_;
  SignalPipe* signals_ = nullptr;
  std::optional<int> stopped_by_;
  Utf8Stream bytes_;
  std::deque<wchar_t> characters_;
};

}  // namespace

std::unique_ptr<LineReader> open_line_reader(const std::string& history_path) {
  if (::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1) {
    return std::make_unique<TerminalReader>(history_path);
  }
  return std::make_unique<PlainReader>();
}

}  // namespace lethe::apps
