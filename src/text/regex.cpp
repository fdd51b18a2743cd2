#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <new>

#include "base/error.h"
#include "base/printable.h"

namespace lethe {
namespace {

constexpr size_t kJitStackStart = size_t{32} << 10;
constexpr size_t kJitStackMax = size_t{8} << 20;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> buffer = {};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

/// \s and \S as the property White_Space, inside and outside of classes.
std::string with_unicode_space(const std::string& pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') {
      out += "\\p{wspace}";
    } else if (escaped == 'S') {
      out += "\\P{wspace}";
    } else {
      out += '\\';
      out += escaped;
    }
  }
  return out;
}

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeJitStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

}  // namespace

struct Regex::Impl {
  std::string pattern;
  std::unique_ptr<pcre2_code, FreeCode> code;
};

struct Regex::Scratch::Impl {
  std::unique_ptr<pcre2_jit_stack, FreeJitStack> stack;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
  std::unique_ptr<pcre2_match_data, FreeMatchData> data;
};

Regex::Scratch::Scratch() : impl_(std::make_shared<Impl>()) {
  impl_->stack.reset(pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr));
  impl_->context.reset(pcre2_match_context_create(nullptr));
  impl_->data.reset(pcre2_match_data_create(1, nullptr));
  if (!impl_->stack || !impl_->context || !impl_->data) throw std::bad_alloc();
  pcre2_jit_stack_assign(impl_->context.get(), nullptr, impl_->stack.get());
  pcre2_set_heap_limit(impl_->context.get(), kHeapLimitKib);
}

Regex::Regex(const std::string& pattern, bool literal, const std::string& where) {
  const std::string source = literal ? pattern : with_unicode_space(pattern);
  const uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto impl = std::make_shared<Impl>();
  impl->pattern = pattern;
  impl->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                                 options, &error, &offset, nullptr));
  if (!impl->code) {
    throw LoadError("{}: the regular expression \"{}\" does not compile: {}.", where,
                    printable(pattern), message_of(error));
  }
  uint32_t matches_empty = 0;
  pcre2_pattern_info(impl->code.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    throw LoadError(
        "{}: the regular expression \"{}\" can match empty text, so it cannot say where to split.",
        where, printable(pattern));
  }
  // Without JIT (not built in, or no executable memory) the interpreter does the same, slower.
  pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE);
  impl_ = std::move(impl);
}

std::optional<Regex::Match> Regex::find(std::string_view text, size_t from,
                                        Scratch& scratch) const {
  auto& room = *scratch.impl_;
  const size_t steps = std::min<size_t>(100'000 + 16 * text.size(), UINT32_MAX);
  pcre2_set_match_limit(room.context.get(), static_cast<uint32_t>(steps));
  const int found =
      pcre2_match(impl_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                  PCRE2_NO_UTF_CHECK, room.data.get(), room.context.get());
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) {
    throw Error(
        "the tokenizer's regular expression \"{}\" gave up on a text of {} bytes: {}. The pattern "
        "is too costly for this text; split the text, or use a tokenizer.json with a simpler one.",
        printable(impl_->pattern), text.size(), message_of(found));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(room.data.get());
  // \K can move the start behind the end; such a match is no piece of text.
  if (bounds[0] < from || bounds[1] <= bounds[0]) {
    throw Error("the tokenizer's regular expression \"{}\" matches text that lies before itself.",
                printable(impl_->pattern));
  }
  return Match{bounds[0], bounds[1]};
}

}  // namespace lethe
