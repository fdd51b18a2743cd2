#include <array>
#include <cstring>

#include "tensor/gguf.h"

namespace lethe {

namespace {

using Type = GgufValue::Type;

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

size_t fixed_size(Type type) {
  switch (type) {
    case Type::U8:
    case Type::I8:
    case Type::Bool:
      return 1;
    case Type::U16:
    case Type::I16:
      return 2;
    case Type::U32:
    case Type::I32:
    case Type::F32:
      return 4;
    case Type::U64:
    case Type::I64:
    case Type::F64:
      return 8;
    case Type::String:
    case Type::Array:
      return 0;
  }
  return 0;
}

std::optional<int64_t> load_signed(Type type, const std::byte* at) {
  switch (type) {
    case Type::I8:
      return load<int8_t>(at);
    case Type::I16:
      return load<int16_t>(at);
    case Type::I32:
      return load<int32_t>(at);
    case Type::I64:
      return load<int64_t>(at);
    default:
      return std::nullopt;
  }
}

std::optional<uint64_t> load_unsigned(Type type, const std::byte* at) {
  switch (type) {
    case Type::U8:
      return load<uint8_t>(at);
    case Type::U16:
      return load<uint16_t>(at);
    case Type::U32:
      return load<uint32_t>(at);
    case Type::U64:
      return load<uint64_t>(at);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view gguf_type_name(GgufValue::Type type) {
  static constexpr std::array<std::string_view, 13> kNames = {
      "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
      "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

const std::byte* GgufValue::element(uint64_t i) const {
  const size_t size = fixed_size(kind());
  if (size == 0 || i >= count_) return nullptr;
  return bytes_.data() + i * size;
}

std::optional<int64_t> GgufValue::as_int(uint64_t i) const {
  const std::byte* at = element(i);
  if (at == nullptr) return std::nullopt;
  if (const auto value = load_unsigned(kind(), at)) {
    if (*value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<int64_t>(*value);
  }
  return load_signed(kind(), at);
}

std::optional<uint64_t> GgufValue::as_uint(uint64_t i) const {
  const std::byte* at = element(i);
  if (at == nullptr) return std::nullopt;
  if (const auto value = load_unsigned(kind(), at)) return value;
  const std::optional<int64_t> value = load_signed(kind(), at);
  if (!value || *value < 0) return std::nullopt;
  return static_cast<uint64_t>(*value);
}

std::optional<double> GgufValue::as_float(uint64_t i) const {
  const std::byte* at = element(i);
  if (at == nullptr) return std::nullopt;
  if (kind() == Type::F32) return load<float>(at);
  if (kind() == Type::F64) return load<double>(at);
  if (const auto value = load_unsigned(kind(), at)) return static_cast<double>(*value);
  if (const auto value = load_signed(kind(), at)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<bool> GgufValue::as_bool(uint64_t i) const {
  const std::byte* at = element(i);
  if (at == nullptr) return std::nullopt;
  if (kind() == Type::Bool) return load<uint8_t>(at) != 0;
  const std::optional<uint64_t> value = as_uint(i);
  if (!value || *value > 1) return std::nullopt;
  return *value == 1;
}

std::optional<std::string_view> GgufValue::as_string() const {
  if (type_ != Type::String) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
}

std::vector<std::string_view> GgufValue::strings() const {
  std::vector<std::string_view> all;
  if (!is_array() || element_type_ != Type::String) return all;
  all.reserve(count_);
  const std::byte* at = bytes_.data();
  for (uint64_t i = 0; i < count_; ++i) {
    // The parser has checked every length against the end of the file.
    const auto length = load<uint64_t>(at);
    at += sizeof length;
    all.emplace_back(reinterpret_cast<const char*>(at), length);
    at += length;
  }
  return all;
}

}  // namespace lethe
