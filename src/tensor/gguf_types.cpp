#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tensor/gguf_parser.h"

namespace lethe::internal {

namespace {

struct TypeName {
  uint32_t id;
  std::string_view name;
};

/// Source: spec/formats.md sections 2.2 and 5; the type lists of ggml and of ik_llama.cpp.
constexpr std::array kRemoved = std::to_array<TypeName>({{4, "Q4_2"},
                                                         {5, "Q4_3"},
                                                         {31, "Q4_0_4_4"},
                                                         {32, "Q4_0_4_8"},
                                                         {33, "Q4_0_8_8"},
                                                         {36, "IQ4_NL_4_4"},
                                                         {37, "IQ4_NL_4_8"},
                                                         {38, "IQ4_NL_8_8"}});
constexpr std::array kActivation = std::to_array<TypeName>({{9, "Q8_1"}, {15, "Q8_K"}});
constexpr std::array kUnsupported = std::to_array<TypeName>({{34, "TQ1_0"}, {35, "TQ2_0"}});
constexpr std::array kIkLlama = std::to_array<TypeName>({{137, "IQ2_K"},
                                                         {138, "IQ3_K"},
                                                         {139, "IQ4_K"},
                                                         {140, "IQ5_K"},
                                                         {141, "IQ6_K"},
                                                         {144, "IQ4_KS"},
                                                         {145, "IQ2_KS"},
                                                         {146, "IQ4_KSS"},
                                                         {152, "IQ5_KS"},
                                                         {153, "IQ2_KT"},
                                                         {154, "IQ3_KT"},
                                                         {155, "IQ4_KT"},
                                                         {156, "IQ3_KS"},
                                                         {157, "IQ2_KL"},
                                                         {158, "IQ1_KT"}});

constexpr uint32_t kFirstForkId = 43;
constexpr uint32_t kFirstIkLlamaId = 97;
constexpr uint32_t kLastIkLlamaId = 399;

std::string_view name_in(std::span<const TypeName> names, uint32_t id) {
  const auto at = std::find_if(names.begin(), names.end(),
                               [id](const TypeName& entry) { return entry.id == id; });
  return at == names.end() ? std::string_view() : at->name;
}

}  // namespace

std::string describe_unusable_ggml_type(uint32_t id) {
  if (const std::string_view name = name_in(kRemoved, id); !name.empty()) {
    return fmt::format("type {} ({}), which ggml has removed; use a file made since 2025", id,
                       name);
  }
  if (const std::string_view name = name_in(kActivation, id); !name.empty()) {
    return fmt::format("type {} ({}), which is for activations and not for weights", id, name);
  }
  if (const std::string_view name = name_in(kUnsupported, id); !name.empty()) {
    return fmt::format("type {} ({}), which is not supported", id, name);
  }
  if (id >= kFirstIkLlamaId && id <= kLastIkLlamaId) {
    const std::string_view name = name_in(kIkLlama, id);
    return fmt::format(
        "type {}{}, which only the fork ik_llama.cpp writes and reads; use a file with ggml's own "
        "types (Q4_K, IQ2_XXS, MXFP4, ...)",
        id, name.empty() ? "" : fmt::format(" ({})", name));
  }
  if (id >= kFirstForkId && id < kFirstIkLlamaId) {
    return fmt::format(
        "type {}, which llama.cpp does not have: a fork of it wrote this file; use a file with "
        "ggml's own types (Q4_K, IQ2_XXS, MXFP4, ...)",
        id);
  }
  return fmt::format("unknown type {}", id);
}

}  // namespace lethe::internal
