// tokenizer.json as Engram reads it, and the compressed token map of whatever strings come out.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/v41/engram_token_map.h"
#include "model/v41/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lethe::model::v41;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> tokens = {text, text + text};
  try {
    const auto parsed = parse_tokenizer_json_tokens(text, "fuzz");
    tokens.insert(tokens.end(), parsed.begin(), parsed.end());
  } catch (const lethe::LoadError&) {
    // A refusal with a message is a right answer.
  }
  const EngramTokenMap map = build_engram_token_map(tokens);
  if (map.compressed.size() != tokens.size()) std::abort();
  for (const int32_t id : map.compressed) {
    if (id < 0 || id >= map.compressed_size) std::abort();
  }
  return 0;
}
