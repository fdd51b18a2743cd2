#include <set>

#include "base/check.h"
#include "tensor/gguf.h"

namespace lethe {

namespace {

using Type = GgufValue::Type;

constexpr uint64_t kAlignment = 32;
constexpr uint32_t kVersion = 3;

uint64_t padding(uint64_t position) {
  return (kAlignment - position % kAlignment) % kAlignment;
}

/// GGUF type of a C++ type.
template <typename T>
constexpr Type kTypeOf = Type::Array;
template <>
constexpr Type kTypeOf<uint32_t> = Type::U32;
template <>
constexpr Type kTypeOf<int32_t> = Type::I32;
template <>
constexpr Type kTypeOf<uint64_t> = Type::U64;
template <>
constexpr Type kTypeOf<int64_t> = Type::I64;
template <>
constexpr Type kTypeOf<float> = Type::F32;
template <>
constexpr Type kTypeOf<bool> = Type::Bool;
template <>
constexpr Type kTypeOf<std::string> = Type::String;

/// Little-endian fields of the header.
class HeaderOutput {
 public:
  explicit HeaderOutput(FileWriter& writer) : writer_(writer) {}

  template <typename T>
  void put(const T& number) {
    writer_.write(std::as_bytes(std::span(&number, 1)));
  }
  void put(const std::string& text) {
    put(uint64_t{text.size()});
    writer_.write(text);
  }
  void put(Type type) { put(static_cast<uint32_t>(type)); }

  template <typename T>
  void put_value(const T& value) {
    put(kTypeOf<T>);
    put(value);
  }
  template <typename T>
  void put_value(const std::vector<T>& values) {
    put(Type::Array);
    put(kTypeOf<T>);
    put(uint64_t{values.size()});
    for (const T& value : values) put(value);
  }

 private:
  FileWriter& writer_;
};

/// Bytes of a planned tensor, which must be one that GGUF can hold.
uint64_t gguf_bytes(const TensorPlan& plan) {
  const DTypeInfo& info = dtype_info(plan.dtype);
  LETHE_CHECK(info.ggml_id >= 0, "{}: GGUF has no type {}", plan.name, info.name);
  LETHE_CHECK(!plan.name.empty() && plan.name.size() < 64, "tensor name '{}'", plan.name);
  LETHE_CHECK(!plan.shape.empty() && plan.shape.size() <= 4 && num_elements(plan.shape) > 0,
              "{}: {}", plan.name, shape_string(plan.shape));
  const auto row = static_cast<uint64_t>(plan.shape.back());
  const std::optional<uint64_t> bytes = row_bytes(plan.dtype, row);
  LETHE_CHECK(bytes.has_value(), "{}: a {} row of {}", plan.name, info.name, row);
  return *bytes * (static_cast<uint64_t>(num_elements(plan.shape)) / row);
}

}  // namespace

GgufWriter::GgufWriter(const std::string& path,
                       const std::vector<std::pair<std::string, GgufWriteValue>>& kv,
                       std::vector<TensorPlan> tensors)
    : writer_(path), path_(path) {
  HeaderOutput out(writer_);
  writer_.write("GGUF");
  out.put(kVersion);
  out.put(uint64_t{tensors.size()});
  out.put(uint64_t{kv.size()});
  std::set<std::string_view> names;
  for (const auto& [key, value] : kv) {
    LETHE_CHECK(!key.empty() && key != "general.alignment" && names.insert(key).second, "{}", key);
    out.put(key);
    std::visit([&out](const auto& held) { out.put_value(held); }, value);
  }
  names.clear();
  uint64_t offset = 0;
  for (const TensorPlan& plan : tensors) {
    LETHE_CHECK(names.insert(plan.name).second, "{} occurs twice", plan.name);
    const uint64_t size = gguf_bytes(plan);
    out.put(plan.name);
    out.put(static_cast<uint32_t>(plan.shape.size()));
    for (size_t i = plan.shape.size(); i-- > 0;) out.put(static_cast<uint64_t>(plan.shape[i]));
    out.put(static_cast<uint32_t>(dtype_info(plan.dtype).ggml_id));
    out.put(offset);
    sizes_.push_back(size);
    offset += size + padding(size);
  }
  writer_.write_zeros(padding(writer_.position()));
}

void GgufWriter::append(std::span<const std::byte> bytes) {
  LETHE_CHECK(current_ < sizes_.size() && bytes.size() <= sizes_[current_] - in_current_,
              "{}: more bytes than planned for tensor {}", path_, current_);
  writer_.write(bytes);
  in_current_ += bytes.size();
  if (in_current_ < sizes_[current_]) return;
  writer_.write_zeros(padding(in_current_));
  ++current_;
  in_current_ = 0;
}

void GgufWriter::finish() {
  LETHE_CHECK(current_ == sizes_.size(), "{}: {} of {} tensors written", path_, current_,
              sizes_.size());
  writer_.commit();
}

}  // namespace lethe
