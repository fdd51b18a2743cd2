#pragma once

#include <cstdint>

#include "model/sequence_state.h"

namespace lethe::model {

/// Brings a state forward to `position` without computing: every cache row that a sequence of that
/// length would hold is a copy of an earlier one. What follows costs what it costs after so many
/// tokens, and means nothing: for benchmarks. `state` must have taken in enough tokens to hold an
/// entry of each kind (a few groups); position <= its layout's max_positions.
void fill_state(SequenceState& state, int64_t position);

}  // namespace lethe::model
