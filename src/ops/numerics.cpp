#include "ops/numerics.h"

#include "base/error.h"

namespace lethe::ops {

Numerics parse_numerics(std::string_view name) {
  if (name == "f32") return Numerics::F32;
  if (name == "f32-served") return Numerics::F32Served;
  if (name == "official") return Numerics::Official;
  if (name == "fast") return Numerics::Fast;
  throw UsageError("unknown numerics \"{}\": use f32, f32-served, official or fast", name);
}

std::string_view numerics_name(Numerics numerics) {
  switch (numerics) {
    case Numerics::F32:
      return "f32";
    case Numerics::F32Served:
      return "f32-served";
    case Numerics::Official:
      return "official";
    case Numerics::Fast:
      return "fast";
  }
  return "?";
}

}  // namespace lethe::ops
