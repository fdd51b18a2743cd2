#include <algorithm>

#include "base/error.h"
#include "fuzz_input.h"
#include "tensor/gguf.h"

namespace {

/// Calls every getter; returns something that depends on what they read.
uint64_t read_value(const lethe::GgufValue& value) {
  uint64_t sum = 0;
  // One past the end must give nothing.
  for (uint64_t i = 0; i <= value.size(); ++i) {
    sum += value.as_uint(i).value_or(0) + static_cast<uint64_t>(value.as_int(i).value_or(0));
    sum += value.as_float(i).has_value() + value.as_bool(i).value_or(false);
  }
  LETHE_CHECK(!value.as_uint(value.size()) && !value.as_float(value.size()));
  for (const std::string_view text : value.strings()) {
    for (const char c : text) sum += static_cast<unsigned char>(c);
  }
  for (const char c : value.as_string().value_or("")) sum += static_cast<unsigned char>(c);
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = lethe::GgufFile::parse(bytes, "fuzz");
    volatile uint64_t sum = 0;
    for (const auto& [key, value] : file.values()) sum = sum + read_value(value);
    for (const lethe::TensorView& view : file.tensors()) {
      lethe::fuzz::check_view(view, bytes);
      LETHE_CHECK(!view.data.empty() && file.find(view.name) == &view);
    }
  } catch (const lethe::LoadError&) {
  }
  return 0;
}
