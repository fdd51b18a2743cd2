// A tokenizer.json of any content: refused with a message, or good for encoding.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using lethe::Tokenizer;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(json, "fuzz");
    const std::string text =
        "the hen <think>\n\n  12345 \xe4\xbd\xa0\xff" + std::string(json.substr(0, 200));
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, {.parse_special = special});
      for (const int32_t id : ids) LETHE_CHECK(special || !tokenizer.is_added(id));
      // An added token may be written in the byte alphabet, and then stands for other bytes.
      if (!special && tokenizer.count_unencodable(text) == 0) {
        LETHE_CHECK(tokenizer.decode(ids) == text);
      }
    }
  } catch (const lethe::Error&) {
    // A refusal with a message is a right answer.
  }
  return 0;
}
