#include "model/slot_memory.h"

#include <sys/mman.h>

#include "base/error.h"

namespace lethe::model {

SlotMemory::SlotMemory(int64_t num_slots, int64_t slot_bytes) : slot_bytes_(slot_bytes) {
  try {
    memory_ = HugeMemory(static_cast<size_t>(num_slots * slot_bytes));
  } catch (const Error& error) {
    throw Error("The expert cache: {} Give a smaller --expert-cache.", error.what());
  }
  // Wishes: a refusal changes nothing but speed.
  static_cast<void>(memory_.interleave());
  static_cast<void>(::mlock2(memory_.bytes().data(), memory_.bytes().size(), MLOCK_ONFAULT));
}

}  // namespace lethe::model
