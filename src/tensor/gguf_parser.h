#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/gguf.h"

namespace lethe::internal {

/// Why a tensor of ggml type `id` cannot be used: "type 31 (Q4_0_4_4), which ggml has removed".
/// For ids that dtype_from_ggml() does not know.
std::string describe_unusable_ggml_type(uint32_t id);

/// Parses and checks one GGUF part by rules 1-7 of spec/formats.md 2.2, except that tensor names
/// are not compared with each other. Views and values point into `bytes`.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  /// Throws LoadError beginning with the path. Called once.
  void parse();

  std::map<std::string, GgufValue, std::less<>> values;
  std::vector<TensorView> tensors;  ///< in file order

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const;

  uint64_t remaining() const noexcept { return bytes_.size() - position_; }
  std::span<const std::byte> take(uint64_t size, std::string_view what);
  template <typename T>
  T number(std::string_view what);
  std::string_view string(std::string_view what);

  void magic_and_version();
  void key_value();
  GgufValue::Type value_type(std::string_view key);
  GgufValue value(std::string_view key);
  void array(std::string_view key, GgufValue& out);
  uint64_t alignment() const;
  void tensor_info();
  Shape shape(const std::string& tensor);
  uint64_t tensor_bytes(const std::string& tensor, DType dtype, const Shape& dims);
  void place_tensors();
  void check_overlap();

  std::span<const std::byte> bytes_;
  std::string path_;
  uint64_t position_ = 0;
};

}  // namespace lethe::internal
