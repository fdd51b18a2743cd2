#pragma once

#include "ops/sparse_attention.h"

namespace lethe::ops {

/// sparse_attention in `fast`. The key list (window by position, then entries as listed) is cut
/// into segments of kernels::kAttentionSegment keys; each becomes a softmax of its own
/// (kernels/attention.h), and those are joined in order: with m the larger of two maxima, sums and
/// denominators are scaled by e^(max - m) and added, f32. Threads share out queries, or segments
/// and heads of one query, which changes nothing in a result.
void fast_attention(const Device& device, const Matrix& q, const SparseAttentionArgs& args,
                    Matrix& out);

}  // namespace lethe::ops
