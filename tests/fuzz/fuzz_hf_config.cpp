#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "tensor/inventory.h"
#include "tensor/model_config.h"

/// A config.json that is accepted keeps every rule, and can be listed and written.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const lethe::ModelConfig config = lethe::parse_hf_config(text, "config.json");
    LETHE_CHECK(lethe::config_faults(config).empty());
    LETHE_CHECK(!lethe::to_hf_config_json(config).empty());
    constexpr int64_t kListed = 20'000;  // experts of all layers: more takes too long here
    if (config.num_hidden_layers * config.n_routed_experts < kListed &&
        config.num_nextn_predict_layers * config.dspark.n_routed_experts < kListed) {
      for (const lethe::TensorSpec& spec : lethe::expected_tensors(config)) {
        LETHE_CHECK(!lethe::released_tensors(spec, config.fp8_block).empty());
        LETHE_CHECK(lethe::num_elements(spec.shape) > 0);
      }
    }
  } catch (const lethe::LoadError&) {
  }
  return 0;
}
