#pragma once

#include "mini/exam_papers.h"
#include "mini/examinee.h"

namespace lethe::mini {

/// Whether the answer is one call of a declared tool, complete, whose arguments are an object with
/// every required parameter, no unknown one, and values of the declared types.
bool is_valid_call(const Answer& answer, const Json& tools);

/// Whether it is the call that was meant, whatever the order of its arguments.
bool is_meant_call(const Answer& answer, const ToolCase& expected);

}  // namespace lethe::mini
