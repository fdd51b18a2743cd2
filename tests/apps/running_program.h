#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace lethe::testing {

/// The lethe program while it runs: a test types, waits for what it wants to see, sends signals. On
/// a terminal of its own (xterm, 80 columns), or between two pipes, the
/// one of its output taking stdout and stderr.
class RunningProgram {
 public:
  enum class Io { terminal, pipes };
  using Environment = std::vector<std::pair<std::string, std::string>>;

  RunningProgram(Io io, std::vector<std::string> arguments, const Environment& environment = {}) {
    arguments.insert(arguments.begin(), LETHE_PROGRAM);
    std::array<int, 2> input = {-1, -1};
    std::array<int, 2> output = {-1, -1};
    if (io == Io::terminal) {
      winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
      pid_ = ::forkpty(&input_, nullptr, nullptr, &size);
      output_ = input_;
    } else {
      if (::pipe2(input.data(), O_CLOEXEC) != 0 || ::pipe2(output.data(), O_CLOEXEC) != 0) {
        throw std::runtime_error("pipe");
      }
      pid_ = ::fork();
    }
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) {
      if (io == Io::pipes) {
        ::dup2(input[0], STDIN_FILENO);
        ::dup2(output[1], STDOUT_FILENO);
        ::dup2(output[1], STDERR_FILENO);
      }
      execute(arguments, environment);
    }
    if (io == Io::pipes) {
      ::close(input[0]);
      ::close(output[1]);
      input_ = input[1];
      output_ = output[0];
    }
  }
  ~RunningProgram() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(input_);
    if (output_ != input_) ::close(output_);
  }
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  void type(const std::string& text) {
    if (::write(input_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      throw std::runtime_error("the program does not read");
    }
  }
  void interrupt() { signal(SIGINT); }
  void signal(int number) { ::kill(pid_, number); }

  /// Reads until the text comes after all that was read for before; what came, the text included.
  /// Throws, showing it, if the program ends or a minute passes.
  std::string read_until(const std::string& text) {
    while (true) {
      const size_t found = pending_.find(text);
      if (found != std::string::npos) {
        std::string out = pending_.substr(0, found + text.size());
        pending_.erase(0, out.size());
        return out;
      }
      if (!read_more()) {
        throw std::runtime_error("waiting for '" + text + "', got '" + pending_ + "'");
      }
    }
  }
  /// Reads to the end.
  std::string read_rest() {
    while (read_more()) continue;
    return std::exchange(pending_, {});
  }
  /// The exit code; 128 + the signal that ended it. Throws if it says nothing for a minute.
  int wait() {
    const std::string rest = read_rest();
    if (timed_out_) throw std::runtime_error("does not end, after '" + rest + "'");
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  [[noreturn]] static void execute(std::vector<std::string>& arguments,
                                   const Environment& environment) {
    ::setenv("TERM", "xterm", 1);
    ::setenv("LC_ALL", "C", 1);  // UTF-8 must work all the same
    ::unsetenv("NO_COLOR");
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(127);
  }

  bool read_more() {
    constexpr int kTimeoutMs = 60'000;
    pollfd wanted = {output_, POLLIN, 0};
    timed_out_ = ::poll(&wanted, 1, kTimeoutMs) != 1;
    if (timed_out_) return false;
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(output_, buffer.data(), buffer.size());
    if (got <= 0) return false;  // a terminal without a program is an error
    pending_.append(buffer.data(), static_cast<size_t>(got));
    return true;
  }

  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  bool timed_out_ = false;
  std::string pending_;
};

}  // namespace lethe::testing
