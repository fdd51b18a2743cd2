#pragma once

#include <string>

namespace lethe::kernels {

/// Asks the system to let this process use the tile registers of AMX, which Linux keeps from those
/// that did not ask; the answer holds for all threads, for good. Empty if they are granted, else
/// why not, in words. Only on a processor with CpuFeatures::amx_tile. Any thread, any number of
/// times.
std::string request_tile_registers();

}  // namespace lethe::kernels
