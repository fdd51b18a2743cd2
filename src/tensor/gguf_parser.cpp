#include "tensor/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/printable.h"

namespace lethe::internal {

namespace {

using Type = GgufValue::Type;

constexpr uint64_t kMaxValues = 65536;           // real files have about 60
constexpr uint64_t kMaxGgufTensors = 1'000'000;  // about 1500
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxGgufNameBytes = 63;  // ggml's own limit
constexpr uint64_t kMinValueBytes = 13;
constexpr uint64_t kMinTensorBytes = 25;
constexpr uint64_t kMaxDim = uint64_t{1} << 48;  // exclusive
constexpr uint64_t kDefaultAlignment = 32;

/// Bytes of one element; of a string, its smallest size.
uint64_t element_bytes(Type type) {
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
    default:
      return 8;
  }
}

}  // namespace

template <typename... Args>
void GgufParser::fail(fmt::format_string<Args...> format, Args&&... args) const {
  throw LoadError("{}: {}", path_, fmt::format(format, std::forward<Args>(args)...));
}

std::span<const std::byte> GgufParser::take(uint64_t size, std::string_view what) {
  if (size > remaining()) {
    fail(
        "the file ends inside {} (at byte {}: {} bytes needed, {} left); it is an incomplete "
        "download or damaged.",
        what, position_, size, remaining());
  }
  const std::span<const std::byte> taken = bytes_.subspan(position_, size);
  position_ += size;
  return taken;
}

template <typename T>
T GgufParser::number(std::string_view what) {
  T value;
  std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
  return value;
}

std::string_view GgufParser::string(std::string_view what) {
  const auto length = number<uint64_t>(what);
  const std::span<const std::byte> text = take(length, what);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

void GgufParser::parse() {
  magic_and_version();
  const auto tensor_count = number<uint64_t>("the tensor count");
  const auto value_count = number<uint64_t>("the metadata count");
  if (value_count > kMaxValues || value_count > remaining() / kMinValueBytes) {
    fail(
        "announces {} metadata entries; the {} bytes that follow cannot hold them (at most {} are "
        "accepted).",
        value_count, remaining(), kMaxValues);
  }
  for (uint64_t i = 0; i < value_count; ++i) key_value();
  if (tensor_count > kMaxGgufTensors || tensor_count > remaining() / kMinTensorBytes) {
    fail(
        "announces {} tensors; the {} bytes that follow cannot describe them (at most {} are "
        "accepted).",
        tensor_count, remaining(), kMaxGgufTensors);
  }
  for (uint64_t i = 0; i < tensor_count; ++i) tensor_info();
  place_tensors();
  check_overlap();
}

void GgufParser::magic_and_version() {
  const std::span<const std::byte> magic = take(4, "its first 4 bytes");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) fail("does not begin with GGUF.");
  const auto version = number<uint32_t>("the version");
  if (version == 2 || version == 3) return;
  if (version == 1) {
    fail(
        "is GGUF version 1, which used 32-bit counts and is no longer read; convert the model "
        "again with a current converter.");
  }
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= 3) {
    fail("is a big-endian GGUF; only little-endian files are read.");
  }
  fail("is GGUF version {}; versions 2 and 3 are known.", version);
}

void GgufParser::key_value() {
  const std::string_view key = string("a metadata key");
  if (key.empty() || key.size() > kMaxKeyBytes) {
    fail("a metadata key has {} bytes; 1 to {} are possible.", key.size(), kMaxKeyBytes);
  }
  if (!values.emplace(key, value(key)).second) {
    fail("the metadata key '{}' occurs twice.", printable(key));
  }
}

GgufValue::Type GgufParser::value_type(std::string_view key) {
  const auto type = number<uint32_t>("a value type");
  if (type > static_cast<uint32_t>(Type::F64)) {
    fail("the metadata key '{}' has a value of unknown type {}.", printable(key), type);
  }
  return static_cast<Type>(type);
}

GgufValue GgufParser::value(std::string_view key) {
  GgufValue result;
  result.type_ = value_type(key);
  if (result.type_ == Type::Array) {
    array(key, result);
  } else if (result.type_ == Type::String) {
    const std::string_view text = string("a metadata string");
    result.bytes_ = std::as_bytes(std::span(text.data(), text.size()));
  } else {
    result.bytes_ = take(element_bytes(result.type_), "a metadata value");
  }
  return result;
}

void GgufParser::array(std::string_view key, GgufValue& out) {
  out.element_type_ = value_type(key);
  if (out.element_type_ == Type::Array) {
    fail("the metadata key '{}' is an array of arrays, which GGUF files do not use.",
         printable(key));
  }
  out.count_ = number<uint64_t>("an array length");
  if (out.count_ > remaining() / element_bytes(out.element_type_)) {
    fail(
        "the metadata key '{}' announces an array of {} elements of type {}, but only {} bytes "
        "follow.",
        printable(key), out.count_, gguf_type_name(out.element_type_), remaining());
  }
  const uint64_t start = position_;
  if (out.element_type_ == Type::String) {
    for (uint64_t i = 0; i < out.count_; ++i) string("a string of an array");
  } else {
    take(out.count_ * element_bytes(out.element_type_), "an array");
  }
  out.bytes_ = bytes_.subspan(start, position_ - start);
}

uint64_t GgufParser::alignment() const {
  const auto at = values.find("general.alignment");
  if (at == values.end()) return kDefaultAlignment;
  if (at->second.type() != Type::U32) {
    fail("general.alignment is of type {}; it must be u32.", gguf_type_name(at->second.type()));
  }
  const uint64_t alignment = at->second.as_uint().value();
  if (!std::has_single_bit(alignment)) {
    fail("general.alignment is {}; it must be a power of two.", alignment);
  }
  return alignment;
}

void GgufParser::tensor_info() {
  const std::string_view name = string("a tensor name");
  if (name.empty() || name.size() > kMaxGgufNameBytes) {
    fail("a tensor name has {} bytes; 1 to {} are possible: '{}'.", name.size(), kMaxGgufNameBytes,
         printable(name));
  }
  const std::string shown = printable(name);
  TensorView view;
  view.name = name;
  view.file = path_;
  view.shape = shape(shown);
  const auto type = number<uint32_t>("a tensor type");
  const std::optional<DType> dtype = dtype_from_ggml(type);
  if (!dtype) fail("{}: is of {}.", shown, describe_unusable_ggml_type(type));
  view.dtype = *dtype;
  view.offset = number<uint64_t>("a tensor offset");
  // Only the size counts until the start of the data section is known.
  view.data = std::span(bytes_.data(), tensor_bytes(shown, view.dtype, view.shape));
  tensors.push_back(std::move(view));
}

Shape GgufParser::shape(const std::string& tensor) {
  const auto rank = number<uint32_t>("a tensor's number of dimensions");
  if (rank < 1 || rank > 4) fail("{}: has {} dimensions; 1 to 4 are possible.", tensor, rank);
  Shape dims(rank);
  int64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    const auto dim = number<uint64_t>("a tensor's dimensions");
    if (dim < 1 || dim >= kMaxDim) {
      fail("{}: dimension {} is {}; 1 to 2^48 - 1 are possible.", tensor, i, dim);
    }
    if (__builtin_mul_overflow(elements, static_cast<int64_t>(dim), &elements)) {
      fail("{}: its dimensions multiply to more elements than any file holds.", tensor);
    }
    dims[rank - 1 - i] = static_cast<int64_t>(dim);  // ne0, the contiguous axis, is our last
  }
  return dims;
}

uint64_t GgufParser::tensor_bytes(const std::string& tensor, DType dtype, const Shape& dims) {
  const auto row = static_cast<uint64_t>(dims.back());
  const DTypeInfo& info = dtype_info(dtype);
  if (row % info.block_elements != 0) {
    fail("{}: {} {}: a row of {} elements is no whole number of {} blocks, which have {} elements.",
         tensor, info.name, shape_string(dims), row, info.name, info.block_elements);
  }
  uint64_t bytes = row_bytes(dtype, row).value_or(UINT64_MAX);
  for (size_t i = 0; i + 1 < dims.size(); ++i) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dims[i]), &bytes)) bytes = UINT64_MAX;
  }
  if (bytes > bytes_.size()) {
    fail(
        "{}: {} {} takes more bytes than the file has ({}); the file may be an incomplete "
        "download.",
        tensor, info.name, shape_string(dims), bytes_.size());
  }
  return bytes;
}

void GgufParser::place_tensors() {
  const uint64_t align = alignment();
  const uint64_t data_start = (position_ + align - 1) / align * align;
  const uint64_t data_bytes = bytes_.size() > data_start ? bytes_.size() - data_start : 0;
  for (TensorView& view : tensors) {
    const uint64_t size = view.data.size();
    if (view.offset % align != 0) {
      fail("{}: its offset {} is no multiple of the alignment {}.", printable(view.name),
           view.offset, align);
    }
    if (view.offset > data_bytes || size > data_bytes - view.offset) {
      fail(
          "{}: {} bytes at offset {} do not lie in the data section, which has {} bytes; the file "
          "may be an incomplete download.",
          printable(view.name), size, view.offset, data_bytes);
    }
    view.offset += data_start;
    view.data = bytes_.subspan(view.offset, size);
  }
}

void GgufParser::check_overlap() {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [this](uint32_t a, uint32_t b) { return tensors[a].offset < tensors[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorView& before = tensors[order[i - 1]];
    const TensorView& view = tensors[order[i]];
    if (view.offset - before.offset < before.data.size()) {
      fail("{}: its data (at byte {}) overlap those of {} ({} bytes at byte {}).",
           printable(view.name), view.offset, printable(before.name), before.data.size(),
           before.offset);
    }
  }
}

}  // namespace lethe::internal
