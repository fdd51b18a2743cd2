#include "kernels/trapped_amx.h"

#if defined(__x86_64__) && defined(__linux__)

#include <ucontext.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>

#include "kernels/tile_registers.h"

namespace lethe::testing {

namespace {

enum Operation {
  kLoadConfig,
  kStoreConfig,
  kRelease,
  kLoad,
  kStore,
  kZero,
  kProducts,
  kOperations
};
constexpr std::array<const char*, kOperations> kNames = {
    "ldtilecfg", "sttilecfg", "tilerelease", "tileloadd", "tilestored", "tilezero", "tdpbssd"};

// They outlive a TrappedAmx, as a thread's registers would: kernels remember their configuration.
TileRegisters registers;
std::array<int64_t, kOperations> carried_out;

struct Instruction {
  Operation operation;
  int reg = 0;              // of ModRM: a tile
  int rm = 0;               // another one, if it is no address
  int third = 0;            // of VEX: a third tile
  uint8_t* base = nullptr;  // the address
  int64_t stride = 0;       // the index register of the address, as a stride
  int64_t bytes = 0;        // its own length
};

/// General registers as instructions number them.
int64_t general(const greg_t* g, int number) {
  constexpr int kPlaces[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                             REG_R12, REG_R13, REG_R14, REG_R15};
  return g[kPlaces[number]];
}

template <typename T>
T read(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

/// By the opcode, and the prefix that VEX.pp stands for (1: 66, 2: F3, 3: F2).
std::optional<Operation> operation_of(int opcode, int pp, bool address) {
  if (opcode == 0x49 && pp == 0) return address ? kLoadConfig : kRelease;
  if (opcode == 0x49 && pp == 1 && address) return kStoreConfig;
  if (opcode == 0x49 && pp == 3 && !address) return kZero;
  if (opcode == 0x4b && pp == 3 && address) return kLoad;
  if (opcode == 0x4b && pp == 2 && address) return kStore;
  if (opcode == 0x5e && pp == 3 && !address) return kProducts;
  return std::nullopt;
}

/// Reads the address after ModRM: base + scale * index + displacement, or from the instruction's
/// end on. `high`: the VEX byte with the inverted high bits of the registers' numbers.
void read_address(const greg_t* g, const uint8_t* code, uint8_t high, Instruction& out) {
  const uint8_t* at = code + 4;
  const int mod = *at >> 6;
  int base = *at & 7;
  const bool relative = mod == 0 && base == 5;
  ++at;
  if (base == 4) {
    base = *at & 7;
    const int index = (*at >> 3 & 7) + ((high & 0x40) == 0 ? 8 : 0);
    if (index != 4) out.stride = general(g, index) << (*at >> 6);
    ++at;
  }
  int64_t displacement = 0;
  const bool no_base = !relative && mod == 0 && base == 5;
  if (mod == 1) {
    displacement = read<int8_t>(at);
    at += 1;
  } else if (mod == 2 || relative || no_base) {
    displacement = read<int32_t>(at);
    at += 4;
  }
  out.bytes = at - code;
  int64_t address = displacement;
  if (relative) address += reinterpret_cast<int64_t>(at);
  if (!relative && !no_base) address += general(g, base + ((high & 0x20) == 0 ? 8 : 0));
  out.base = reinterpret_cast<uint8_t*>(address);  // NOLINT(performance-no-int-to-ptr)
}

/// The AMX instruction at `code`, if it is one: three bytes of VEX (128 bits, W0, map 0F38),
/// opcode.
std::optional<Instruction> decode(const greg_t* g, const uint8_t* code) {
  if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0) return std::nullopt;
  const uint8_t modrm = code[4];
  const bool address = modrm >> 6 != 3;
  const auto operation = operation_of(code[3], code[2] & 3, address);
  if (!operation) return std::nullopt;
  Instruction found{.operation = *operation, .reg = modrm >> 3 & 7, .rm = modrm & 7};
  found.third = ~code[2] >> 3 & 15;
  found.bytes = 5;
  if (address) read_address(g, code, code[1], found);
  return found;
}

bool carry_out(const Instruction& i) {
  const uint8_t none[TileRegisters::kConfigBytes] = {};
  switch (i.operation) {
    case kLoadConfig:
      return registers.load_config(i.base + i.stride);
    case kStoreConfig:
      registers.store_config(i.base + i.stride);
      return true;
    case kRelease:
      return registers.load_config(none);
    case kLoad:
      return registers.load(i.reg, i.base, i.stride);
    case kStore:
      return registers.store(i.reg, i.base, i.stride);
    case kZero:
      return registers.zero(i.reg);
    case kProducts:
      return registers.add_products(i.reg, i.rm, i.third);
    default:
      return false;
  }
}

void on_illegal(int signal, siginfo_t*, void* context) {
  greg_t* const g = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const uint8_t*>(g[REG_RIP]);  // NOLINT
  const auto instruction = decode(g, code);
  if (!instruction || !carry_out(*instruction)) {
    ::signal(signal, SIG_DFL);  // ends the program at the same instruction
    return;
  }
  ++carried_out[instruction->operation];
  g[REG_RIP] += instruction->bytes;
}

}  // namespace

TrappedAmx::TrappedAmx() {
  struct sigaction action = {};
  action.sa_sigaction = on_illegal;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &before_);
}

TrappedAmx::~TrappedAmx() {
  sigaction(SIGILL, &before_, nullptr);
}

std::map<std::string, int64_t> TrappedAmx::counts() {
  std::map<std::string, int64_t> counts;
  for (size_t i = 0; i < kNames.size(); ++i) counts[kNames[i]] = carried_out[i];
  return counts;
}

}  // namespace lethe::testing

#endif
