#pragma once

#include <cstdint>
#include <vector>

#include "text/prompt.h"
#include "text/tokenizer.h"

namespace lethe {

/// The ids of a prompt (spec encoding.md section 2): added tokens are recognised in template
/// segments only, and no piece reaches over the boundary of two segments, so that client text never
/// becomes a special token. Nothing is added: BOS is part of the template. Throws what
/// Tokenizer::encode() throws.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt);

}  // namespace lethe
