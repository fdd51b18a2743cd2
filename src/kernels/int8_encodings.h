#pragma once

// The encodings whose products take Int8 activations, for installers: one list for all sets.
// Formats have the encodings' names in every set.

/// apply(NAME) for each of the ggml blocks.
#define LETHE_FOR_BLOCK_ENCODINGS(apply)                                                     \
  apply(Q8_0) apply(Q4_0) apply(Q4_1) apply(Q5_0) apply(Q5_1) apply(MXFP4) apply(NVFP4)      \
      apply(IQ4_NL) apply(Q2_K) apply(Q3_K) apply(Q4_K) apply(Q5_K) apply(Q6_K) apply(IQ1_S) \
          apply(IQ1_M) apply(IQ2_XXS) apply(IQ2_XS) apply(IQ2_S) apply(IQ3_XXS) apply(IQ3_S) \
              apply(IQ4_XS)

/// The same, and FP4 with row scales.
#define LETHE_FOR_INT8_ENCODINGS(apply) apply(Fp4Row) LETHE_FOR_BLOCK_ENCODINGS(apply)
