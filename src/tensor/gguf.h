#pragma once

#include "base/file_writer.h"
#include "base/mapped_file.h"
#include "tensor/tensor_view.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lethe {

/// A GGUF metadata value. Integer widths are kept as int64/uint64, floats as double; arrays hold
/// one kind of element. Strings and arrays point into the mapped file: nothing is copied.
class GgufValue {
 public:
  enum class Type : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

  Type type() const noexcept { return type_; }
  bool is_array() const noexcept { return type_ == Type::Array; }
  Type element_type() const noexcept { return element_type_; }  ///< Of an array.
  uint64_t size() const noexcept { return count_; }             ///< Elements; 1 for a scalar.

  /// Tolerant getters: any integer width or sign that fits; integers also as floats; nothing if
  /// the kind does not fit. `i` indexes an array (0 for a scalar).
  std::optional<int64_t> as_int(uint64_t i = 0) const;
  std::optional<uint64_t> as_uint(uint64_t i = 0) const;
  std::optional<double> as_float(uint64_t i = 0) const;
  std::optional<bool> as_bool(uint64_t i = 0) const;
  /// Scalar string, or element i of a string array in O(i); iterate with `strings()`.
  std::optional<std::string_view> as_string() const;
  /// All strings of a string array, in order.
  std::vector<std::string_view> strings() const;

 private:
  friend class GgufFile;
  Type type_ = Type::U8;
  Type element_type_ = Type::U8;
  uint64_t count_ = 1;
  std::span<const std::byte> bytes_;
};

/// A GGUF v2/v3 model, all parts of a split one, mapped. Source: spec/formats.md section 2; every
/// rule of section 2.2 (1-7) is checked before a byte is used.
class GgufFile {
 public:
  /// Opens `path` and, if it says that it is a part of several, all its siblings (any part may be
  /// named). Throws LoadError.
  static GgufFile open(const std::string& path);
  /// One part, without looking for siblings (fuzzing, and the container tests).
  static GgufFile parse(std::span<const std::byte> bytes, const std::string& path);

  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }
  const TensorView* find(std::string_view name) const;
  const GgufValue* value(std::string_view key) const;
  const std::map<std::string, GgufValue, std::less<>>& values() const noexcept { return values_; }
  const std::vector<MappedFile>& files() const noexcept { return files_; }

 private:
  std::vector<MappedFile> files_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

/// A value to write.
using GgufWriteValue =
    std::variant<uint32_t, int32_t, uint64_t, int64_t, float, bool, std::string,
                 std::vector<int32_t>, std::vector<int64_t>, std::vector<float>,
                 std::vector<std::string>>;

/// Streams a GGUF v3 file: metadata and tensor table at construction, then tensor bytes in order
/// (padding to the alignment of 32 is inserted).
class GgufWriter {
 public:
  GgufWriter(const std::string& path, const std::vector<std::pair<std::string, GgufWriteValue>>& kv,
             std::vector<TensorPlan> tensors);
  void append(std::span<const std::byte> bytes);
  void finish();

 private:
  FileWriter writer_;
  std::vector<uint64_t> sizes_;
  size_t current_ = 0;
  uint64_t in_current_ = 0;
};

}  // namespace lethe
