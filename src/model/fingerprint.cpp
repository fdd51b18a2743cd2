#include "model/fingerprint.h"

#include <string_view>

namespace lethe::model {

uint64_t fingerprint(const ModelConfig& config, ops::Numerics numerics) {
  // FNV-1a over the configuration's canonical text.
  uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&](std::string_view text) {
    for (const char c : text) {
      hash ^= static_cast<unsigned char>(c);
      hash *= 0x100000001b3u;
    }
  };
  mix(to_hf_config_json(config));
  mix(ops::numerics_name(numerics));
  return hash;
}

}  // namespace lethe::model
