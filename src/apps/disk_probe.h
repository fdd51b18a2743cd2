#pragma once

#include <vector>

#include "base/mapped_file.h"

namespace lethe::apps {

/// Bandwidth of the disk that holds these files, measured as an expert cache reads: pieces of some
/// megabytes at random places, past the page cache, several at a time. 1 GB = 10^9 bytes; 0 if the
/// files are empty. Takes about `seconds`, less for small files, and 64 MiB of memory. Throws Error
/// for files that cannot be read.
double probe_disk_gb_s(const std::vector<MappedFile>& files, double seconds = 1);

}  // namespace lethe::apps
