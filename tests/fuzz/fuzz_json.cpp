#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "base/json_py.h"

/// What is read and written once is read and written the same ever after.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const std::string written = lethe::dump_json(lethe::parse_json(text));
    LETHE_CHECK(lethe::dump_json(lethe::parse_json(written)) == written);
  } catch (const lethe::JsonError& error) {
    LETHE_CHECK(error.offset() <= size);
  }
  return 0;
}
