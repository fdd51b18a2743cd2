#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "fuzz_input.h"
#include "tensor/safetensors.h"

namespace {

/// An accepted header is JSON for a second, stricter parser too, and has one entry per name.
void check_header(const lethe::SafetensorsFile& file, std::span<const std::byte> bytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto* begin = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
  const auto header = nlohmann::json::parse(begin, begin + length, nullptr, false);
  LETHE_CHECK(header.is_object());
  LETHE_CHECK(header.size() - header.count("__metadata__") ==
              file.tensors().size() + file.unsupported().size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = lethe::SafetensorsFile::parse(bytes, "fuzz");
    check_header(file, bytes);
    uint64_t total = 0;
    for (const lethe::TensorView& view : file.tensors()) {
      lethe::fuzz::check_view(view, bytes);
      LETHE_CHECK(file.find(view.name) == &view);
      total += view.data.size();
    }
    LETHE_CHECK(total <= size);
  } catch (const lethe::LoadError&) {
  }
  return 0;
}
