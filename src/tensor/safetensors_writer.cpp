#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "tensor/safetensors.h"

namespace lethe {

namespace {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump();
}

/// Bytes of a planned tensor; its dtype must be one that safetensors has.
uint64_t stored_bytes(const TensorPlan& plan) {
  const DTypeInfo& info = dtype_info(plan.dtype);
  LETHE_CHECK(!info.safetensors.empty(), "{}: safetensors has no dtype {}", plan.name, info.name);
  uint64_t bytes = 0;
  const bool overflow = __builtin_mul_overflow(static_cast<uint64_t>(num_elements(plan.shape)),
                                               uint64_t{info.block_bytes}, &bytes);
  LETHE_CHECK(!overflow, "{}: {}", plan.name, shape_string(plan.shape));
  return bytes;
}

std::string metadata_entry(const std::map<std::string, std::string>& metadata) {
  std::string text = "\"__metadata__\":{";
  for (const auto& [key, value] : metadata) {
    if (text.back() != '{') text += ',';
    text += quoted(key) + ":" + quoted(value);
  }
  return text + "}";
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorPlan> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : writer_(path), path_(path) {
  std::string header = "{";
  if (!metadata.empty()) header += metadata_entry(metadata);
  std::set<std::string_view> names;
  for (const TensorPlan& plan : tensors) {
    LETHE_CHECK(names.insert(plan.name).second && plan.name != "__metadata__", "{}", plan.name);
    const uint64_t bytes = stored_bytes(plan);
    if (header.size() > 1) header += ',';
    header += fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                          quoted(plan.name), dtype_info(plan.dtype).safetensors,
                          shape_string(plan.shape), data_bytes_, data_bytes_ + bytes);
    data_bytes_ += bytes;
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  writer_.write(std::as_bytes(std::span(&length, 1)));
  writer_.write(header);
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  LETHE_CHECK(bytes.size() <= data_bytes_ - written_, "{}: more bytes than planned", path_);
  writer_.write(bytes);
  written_ += bytes.size();
}

void SafetensorsWriter::finish() {
  LETHE_CHECK(written_ == data_bytes_, "{}: {} of {} bytes written", path_, written_, data_bytes_);
  writer_.commit();
}

}  // namespace lethe
