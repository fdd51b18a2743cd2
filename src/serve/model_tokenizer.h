#pragma once

#include <string>

#include "text/tokenizer.h"

namespace lethe {
class GgufFile;
}

namespace lethe::serve {

/// The tokenizer of a model as the user names it: a directory with a tokenizer.json or with one
/// .gguf, a .gguf file, or a tokenizer.json itself. Throws LoadError.
Tokenizer load_model_tokenizer(const std::string& model);

/// The tokenizer in a GGUF file's metadata (spec formats.md section 3.3). `name` stands for the
/// file in messages. Throws LoadError if it has none or one of another kind.
Tokenizer gguf_tokenizer(const GgufFile& file, const std::string& name);

}  // namespace lethe::serve
