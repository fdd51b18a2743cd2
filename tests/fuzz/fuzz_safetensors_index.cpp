#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/error.h"
#include "tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto files =
        lethe::parse_safetensors_index({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const auto& [tensor, file] : files) {
      LETHE_CHECK(!file.empty() && file.find('/') == std::string::npos &&
                  file.find("..") == std::string::npos && file.find('\0') == std::string::npos);
    }
  } catch (const lethe::LoadError&) {
  }
  return 0;
}
