#pragma once

namespace lethe {

/// Makes the C library keep the pages of freed memory, up to 1 GB of it, instead of giving large
/// blocks back at once: the activations of a forward pass are tens of megabytes each, the same at
/// every step, and fresh pages cost more than the arithmetic of small operations. For the whole
/// process; call it once, before other threads start. Where the library has no such settings
/// nothing happens.
void keep_freed_memory() noexcept;

}  // namespace lethe
