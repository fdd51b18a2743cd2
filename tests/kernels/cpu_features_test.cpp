#include "kernels/cpu_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernels/kernel_sets.h"

// What processors say of themselves, without such processors.

namespace lethe::kernels {
namespace {

/// A Xeon with AMX (Sapphire Rapids) and a system that saves all of its registers.
X86Identity xeon() {
  X86Identity id;
  id.basic_ecx = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29;
  id.extended_ebx = 1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  id.extended_ecx = 1u << 1 | 1u << 11;
  id.extended_edx = 1u << 22 | 1u << 24 | 1u << 25;
  id.further_eax = 1u << 4 | 1u << 5;
  id.saved_states = 0b11 | 0b11100100 | 0b11ull << 17;
  return id;
}

TEST(CpuFeatures, OfAProcessorWithAll) {
  const CpuFeatures cpu = features_of(xeon());
  EXPECT_TRUE(cpu.avx2 && cpu.fma && cpu.f16c && cpu.avx_vnni && cpu.avx512 && cpu.avx512_vbmi &&
              cpu.avx512_vnni && cpu.avx512_bf16 && cpu.amx_tile && cpu.amx_int8);
  EXPECT_FALSE(cpu.dotprod || cpu.i8mm);
}

TEST(CpuFeatures, StreamsAreNarrowOnZen4) {
  X86Identity id = xeon();
  EXPECT_FALSE(features_of(id).narrow_streams);
  id.basic_eax = 0x00a10f11;  // family 25, model 17
  EXPECT_TRUE(features_of(id).narrow_streams);
  id.basic_eax = 0x00b00f21;  // family 26, Zen 5
  EXPECT_FALSE(features_of(id).narrow_streams);
  id.basic_eax = 0x000806f8;  // family 6, Sapphire Rapids
  EXPECT_FALSE(features_of(id).narrow_streams);
}

TEST(CpuFeatures, NothingWithoutTheBitOfEachInstruction) {
  X86Identity id = xeon();
  id.extended_edx = 1u << 24;
  EXPECT_TRUE(features_of(id).amx_tile);
  EXPECT_FALSE(features_of(id).amx_int8);
  id.extended_edx = 1u << 25;
  EXPECT_FALSE(features_of(id).amx_tile);
  id = xeon();
  id.extended_ebx &= ~(1u << 30);
  EXPECT_FALSE(features_of(id).avx512);
  id = xeon();
  id.further_eax = 1u << 4;
  EXPECT_FALSE(features_of(id).avx512_bf16);
}

TEST(CpuFeatures, NothingThatTheSystemDoesNotSave) {
  X86Identity id = xeon();
  id.saved_states &= ~(1ull << 18);  // the contents of tiles
  EXPECT_FALSE(features_of(id).amx_tile || features_of(id).amx_int8);
  EXPECT_TRUE(features_of(id).avx512_bf16);
  id = xeon();
  id.saved_states &= ~(1ull << 17);  // their shapes
  EXPECT_FALSE(features_of(id).amx_tile || features_of(id).amx_int8);
  id = xeon();
  id.saved_states &= ~(1ull << 5);  // masks
  EXPECT_FALSE(features_of(id).avx512 || features_of(id).avx512_bf16);
  EXPECT_TRUE(features_of(id).avx2 && features_of(id).avx_vnni);
  id = xeon();
  id.saved_states = 0b11;
  EXPECT_FALSE(features_of(id).avx2 || features_of(id).fma);
  id = xeon();
  id.basic_ecx &= ~(1u << 27);  // the saved states cannot be read
  EXPECT_FALSE(features_of(id).avx2 || features_of(id).avx512 || features_of(id).amx_tile);
}

#if defined(__x86_64__)

int requests = 0;
std::string grant() {
  ++requests;
  return {};
}
std::string refuse() {
  ++requests;
  return "the system does not grant tile registers";
}

TEST(WhyNotAmx, NothingWhereTheSystemGrantsTiles) {
  requests = 0;
  EXPECT_EQ(why_not_amx(features_of(xeon()), grant), "");
  EXPECT_EQ(requests, 1);
}

TEST(WhyNotAmx, TheSystemRefuses) {
  EXPECT_EQ(why_not_amx(features_of(xeon()), refuse), "the system does not grant tile registers");
}

TEST(WhyNotAmx, NothingIsAskedForWithoutTheInstructions) {
  requests = 0;
  X86Identity id = xeon();
  id.extended_edx = 1u << 24;
  EXPECT_THAT(why_not_amx(features_of(id), grant), ::testing::EndsWith("lacks AMX-INT8"));
  id = xeon();
  id.saved_states &= ~(0b11ull << 17);
  EXPECT_THAT(why_not_amx(features_of(id), grant), ::testing::EndsWith("lacks AMX-TILE AMX-INT8"));
  id = xeon();
  id.further_eax = 0;
  EXPECT_THAT(why_not_amx(features_of(id), grant), ::testing::EndsWith("lacks AVX-512 BF16"));
  EXPECT_EQ(requests, 0);
}

#endif

}  // namespace
}  // namespace lethe::kernels
