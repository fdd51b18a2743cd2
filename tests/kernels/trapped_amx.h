#pragma once

#include <csignal>
#include <map>
#include <string>

namespace lethe::testing {

/// While it lives, AMX instructions that the processor does not have, and so are illegal, are
/// decoded from the program's own bytes and carried out on one set of TileRegisters. Lets compiled
/// kernels run, slowly, where they could not. One at a time, for one thread; x86-64 Linux.
class TrappedAmx {
 public:
  TrappedAmx();
  ~TrappedAmx();
  TrappedAmx(const TrappedAmx&) = delete;
  TrappedAmx& operator=(const TrappedAmx&) = delete;

  /// How many of an instruction, by its name in lower case, were carried out in the program so far.
  static std::map<std::string, int64_t> counts();

 private:
  struct sigaction before_ = {};
};

}  // namespace lethe::testing
