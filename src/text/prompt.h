#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lethe {

/// A stretch of a prompt. Added tokens (`<｜User｜>`, `<think>`, `｜DSML｜` ...) are looked for in
/// template text only: the same letters in anything else are ordinary text, so that what a client
/// sends can never become a special token (spec encoding.md section 2).
struct PromptSegment {
  std::string text;
  bool is_template;
};

/// A prompt, or a piece of one, as segments in reading order. To tokenise: each segment on its own,
/// template segments with added tokens recognised, the others without; no piece of the tokenizer
/// reaches over a boundary. Ordinary words of the template that touch client text may stand in the
/// client's segment, so that they are tokenised together as in one text.
class Prompt {
 public:
  /// Client text as a prompt piece.
  static Prompt client(std::string_view text);

  void add_template(std::string_view text) { add(text, true); }
  void add_client(std::string_view text) { add(text, false); }
  void append(const Prompt& other);

  /// Neighbours differ in is_template; none is empty.
  const std::vector<PromptSegment>& segments() const noexcept { return segments_; }
  bool empty() const noexcept { return segments_.empty(); }
  /// All segments joined.
  std::string text() const;
  /// Client text only; template segments are left out.
  std::string client_text() const;

 private:
  void add(std::string_view text, bool is_template);

  std::vector<PromptSegment> segments_;
};

}  // namespace lethe
