#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lethe::synth {

/// The directory a checkpoint is written into, all of it or nothing: unless keep() is called, every
/// file named through path() is removed again, and the directory too if this object made it.
/// One thread.
class OutputDirectory {
 public:
  /// Makes the directory, or takes an empty one. With `force` also one that holds files: those of
  /// an earlier checkpoint (config, tokenizer, weights) are removed. Throws UsageError or IoError.
  OutputDirectory(std::string directory, bool force);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// Throws IoError, naming both numbers, if the disk has not that much room.
  void require_space(uint64_t bytes) const;

  /// Full path of a file that this run is about to write.
  std::string path(std::string_view file_name);
  void keep() noexcept { kept_ = true; }

 private:
  std::string directory_;
  bool created_ = false;
  bool kept_ = false;
  std::vector<std::string> written_;
};

}  // namespace lethe::synth
