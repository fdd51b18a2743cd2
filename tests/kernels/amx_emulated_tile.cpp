#include "kernels/amx_int8_tile.h"
#include "kernels/emulated_amx.h"
#include "kernels/int8_encodings.h"
#include "kernels/tile_registers.h"

// AMX's kernels with emulated tile registers; compiled with the flags of src/kernels/amx_*.

namespace lethe::testing {

namespace {

using kernels::KernelTable;
using quant::Encoding;

/// Stops the program where a processor would.
class EmulatedTiles {
 public:
  void configure(const kernels::TileConfig& config) noexcept {
    require(registers_.load_config(reinterpret_cast<const uint8_t*>(&config)));
  }
  template <int kTile>
  void load(const void* base, int64_t stride) noexcept {
    require(registers_.load(kTile, base, stride));
  }
  template <int kTile>
  void store(void* base, int64_t stride) const noexcept {
    require(registers_.store(kTile, base, stride));
  }
  template <int kTile>
  void zero() noexcept {
    require(registers_.zero(kTile));
  }
  template <int kSums, int kA, int kB>
  void add_products() noexcept {
    require(registers_.add_products(kSums, kA, kB));
  }

 private:
  static void require(bool legal) noexcept {
    if (!legal) __builtin_trap();
  }
  TileRegisters registers_;
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  kernels::set_tile<Format, kernels::TileProducts<EmulatedTiles>>(table, encoding);
}

}  // namespace

void install_emulated_amx_int8_tile(KernelTable& table) noexcept {
#define LETHE_SET(name) set<kernels::name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::testing
