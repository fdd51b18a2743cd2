#include "kernels/tile_permission.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#endif

namespace lethe::kernels {

#if defined(__x86_64__) && defined(__linux__)

std::string request_tile_registers() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, Linux 5.16
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return {};
  return "the system does not grant tile registers (arch_prctl: " +
         std::generic_category().message(errno) + "; Linux knows them from 5.16 on)";
}

#else

std::string request_tile_registers() {
  return "it is not known how to ask this system for tile registers";
}

#endif

}  // namespace lethe::kernels
