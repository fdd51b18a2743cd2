#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lethe {

/// Finds added tokens (`<｜User｜>`, `<think>` ...) in text: leftmost first, the longest of those
/// that begin there. Immutable; any thread.
class AddedTokens {
 public:
  struct Entry {
    std::string_view text;  ///< 1 to kMaxBytes bytes
    int32_t id;
  };
  static constexpr size_t kMaxBytes = 1024;

  AddedTokens() = default;
  /// The texts are distinct and must outlive this object.
  explicit AddedTokens(std::vector<Entry> entries);

  struct Match {
    size_t begin;
    size_t length;
    int32_t id;
  };
  /// The first at or after byte `from`. At most kMaxBytes steps per byte of text.
  std::optional<Match> find(std::string_view text, size_t from) const;
  /// The token of exactly this text.
  std::optional<int32_t> id_of(std::string_view text) const;

  const std::vector<Entry>& entries() const noexcept { return entries_; }  ///< by text

 private:
  std::optional<Match> longest_at(std::string_view text, size_t at) const;

  std::vector<Entry> entries_;
  std::bitset<256> first_bytes_;
};

}  // namespace lethe
