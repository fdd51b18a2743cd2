#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace lethe {

/// A failure the user can do something about. `what()` is one plain paragraph: what was found, what
/// was expected, where, and what to do. Programs print it and exit with `exit_code()`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// Formats with fmt: `throw Error("{}: no such file", path)`.
  template <typename... Args>
  requires(sizeof...(Args) > 0) explicit Error(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
  virtual int exit_code() const noexcept { return 1; }
};

/// A model file, tokenizer or configuration that cannot be used.
class LoadError : public Error {
 public:
  using Error::Error;
};

/// Reading or writing failed at run time (disk full, short read, file changed while in use).
class IoError : public Error {
 public:
  using Error::Error;
};

/// A wrong flag or request: nothing was done.
class UsageError : public Error {
 public:
  using Error::Error;
  int exit_code() const noexcept override { return 2; }
};

}  // namespace lethe
