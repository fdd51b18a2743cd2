#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/error.h"
#include "tensor/gguf.h"
#include "tensor/model_config.h"

/// Metadata that are accepted as a model's keep every rule.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto gguf = lethe::GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
    const lethe::ModelConfig config = lethe::read_gguf_config(gguf);
    LETHE_CHECK(lethe::config_faults(config).empty());
    LETHE_CHECK(!lethe::to_hf_config_json(config).empty());
  } catch (const lethe::Error&) {
    // LoadError, or Error where config.json cannot express clamps that differ between layers.
  }
  return 0;
}
