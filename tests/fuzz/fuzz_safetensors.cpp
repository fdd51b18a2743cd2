#include "base/error.h"
#include "fuzz_input.h"
#include "tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = lethe::SafetensorsFile::parse(bytes, "fuzz");
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
