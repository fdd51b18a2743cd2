#pragma once

#include <cstddef>
#include <span>

namespace lethe {

/// Hints about how mapped bytes will be read. They change when the disk is read and how much of it,
/// never what is read; a system that ignores them is no error. Any thread.

/// The bytes will be read in small pieces at scattered places: a page fault shall read its own page
/// and not its neighbourhood.
void advise_random_access(std::span<const std::byte> bytes) noexcept;
/// The bytes will be read soon: begin to fetch their pages and return at once.
void prefetch_pages(std::span<const std::byte> bytes) noexcept;

}  // namespace lethe
