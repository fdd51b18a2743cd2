#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lethe {

/// A compiled regular expression of a tokenizer.json, matched by PCRE2 (UTF, UCP, JIT where the
/// machine has it). The files are written for Oniguruma, as the reference tokenizer uses it; of the
/// differences, \s is made to mean the property White_Space, as there (PCRE2's own \s has U+180E
/// too). Immutable, cheap to copy, usable by any thread.
class Regex {
 public:
  /// Throws LoadError if the pattern does not compile or can match empty text; `where` names its
  /// place in the file. `literal`: the pattern is plain text.
  Regex(const std::string& pattern, bool literal, const std::string& where);

  /// Room to match in, reusable for any number of regexes; one thread at a time.
  class Scratch {
   public:
    Scratch();

   private:
    friend class Regex;
    struct Impl;
    std::shared_ptr<Impl> impl_;
  };

  struct Match {
    size_t begin;
    size_t end;
  };
  /// The first match in `text` at or after byte `from`. `text` must be well-formed UTF-8 and `from`
  /// a boundary in it. Throws Error if the pattern needs more steps than a small multiple of the
  /// text's length.
  std::optional<Match> find(std::string_view text, size_t from, Scratch& scratch) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lethe
