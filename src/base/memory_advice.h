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
/// The bytes will be read again and again: read their file in pieces of 2 MB, and map those as huge
/// pages, where the file system can (large folios: XFS, ext4 from Linux 6.16 on). Works on pages
/// that are not in the page cache yet, and makes a touch of any of them read 2 MB or more.
void advise_huge_pages(std::span<const std::byte> bytes) noexcept;

}  // namespace lethe
