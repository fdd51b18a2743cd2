#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/file_writer.h"
#include "base/mapped_file.h"
#include "tensor/name_index.h"
#include "tensor/tensor_view.h"

namespace lethe {

namespace internal {
class GgufParser;
}

/// A GGUF metadata value. Integer widths are kept as int64/uint64, floats as double; arrays hold
/// one kind of element. Strings and arrays point into the mapped file: nothing is copied.
class GgufValue {
 public:
  enum class Type : uint32_t {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64
  };

  Type type() const noexcept { return type_; }
  bool is_array() const noexcept { return type_ == Type::Array; }
  Type element_type() const noexcept { return element_type_; }  ///< Of an array.
  uint64_t size() const noexcept { return count_; }             ///< Elements; 1 for a scalar.

  /// Tolerant getters: any integer width or sign that fits; integers also as floats; integers 0
  /// and 1 also as bools; nothing if the kind does not fit or i >= size(). `i` indexes an array
  /// (0 for a scalar).
  std::optional<int64_t> as_int(uint64_t i = 0) const;
  std::optional<uint64_t> as_uint(uint64_t i = 0) const;
  std::optional<double> as_float(uint64_t i = 0) const;
  std::optional<bool> as_bool(uint64_t i = 0) const;
  /// A scalar string; for arrays see `strings()`.
  std::optional<std::string_view> as_string() const;
  /// All strings of a string array, in order; empty for any other value.
  std::vector<std::string_view> strings() const;

 private:
  friend class internal::GgufParser;
  const std::byte* element(uint64_t i) const;
  Type kind() const noexcept { return is_array() ? element_type_ : type_; }

  Type type_ = Type::U8;
  Type element_type_ = Type::U8;
  uint64_t count_ = 1;
  std::span<const std::byte> bytes_;  ///< Of a scalar string: its text; else as in the file.
};

/// Name of a value type as messages show it: "u32", "string".
std::string_view gguf_type_name(GgufValue::Type type);

/// A GGUF v2/v3 model, all parts of a split one, mapped. Source: spec/formats.md section 2; every
/// rule of section 2.2 (1-7) is checked before a byte is used.
class GgufFile {
 public:
  /// Opens `path` and, if it says that it is a part of several, all its siblings (any part may be
  /// named); metadata come from the first. Throws LoadError naming file, tensor or key, what was
  /// found and what was expected.
  static GgufFile open(const std::string& path);
  /// One part, without looking for siblings (fuzzing, and the container tests); `path` is only for
  /// messages. The bytes must outlive the result.
  static GgufFile parse(std::span<const std::byte> bytes, const std::string& path);

  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }
  const TensorView* find(std::string_view name) const;
  const GgufValue* value(std::string_view key) const;
  const std::map<std::string, GgufValue, std::less<>>& values() const noexcept { return values_; }
  const std::vector<MappedFile>& files() const noexcept { return files_; }

 private:
  void append_part(MappedFile part);
  void index_names(const std::string& path);

  std::vector<MappedFile> files_;
  std::vector<TensorView> tensors_;
  NameIndex by_name_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

/// A value to write.
using GgufWriteValue = std::variant<uint32_t, int32_t, uint64_t, int64_t, float, bool, std::string,
                                    std::vector<int32_t>, std::vector<int64_t>, std::vector<float>,
                                    std::vector<std::string>>;

/// Streams a GGUF v3 file: metadata and tensor table at construction, then tensor bytes in order
/// (padding to the alignment of 32 is inserted). One thread.
class GgufWriter {
 public:
  /// Shapes are [out, in] as everywhere, 1 to 4 dimensions of at least 1; keys and names must be
  /// unique; general.alignment is not given. Throws IoError.
  GgufWriter(const std::string& path, const std::vector<std::pair<std::string, GgufWriteValue>>& kv,
             std::vector<TensorPlan> tensors);
  /// Appends bytes of the current tensor; several calls may make up one tensor.
  void append(std::span<const std::byte> bytes);
  /// Commits the file, which must be complete. Throws IoError.
  void finish();

 private:
  FileWriter writer_;
  std::string path_;
  std::vector<uint64_t> sizes_;
  size_t current_ = 0;
  uint64_t in_current_ = 0;
};

}  // namespace lethe
