#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/gguf.h"

namespace lethe::internal {

/// Typed access to the metadata of one architecture ("deepseek4.*"), tolerant of integer and float
/// widths. Keys are given without that prefix, the usual name first, then other dialects' names for
/// the same thing. What does not fit is added to a list of faults and leaves the target alone.
class GgufKeys {
 public:
  using Names = std::initializer_list<std::string_view>;
  GgufKeys(const GgufFile& gguf, std::string prefix, std::vector<std::string>& faults)
      : gguf_(&gguf), prefix_(std::move(prefix)), faults_(&faults) {}

  bool has(Names names) { return find(names) != nullptr; }
  bool is_array(Names names);
  /// Entries of an array, 1 for a scalar, 0 if absent.
  uint64_t count(Names names);

  /// Required. Scalars do not take arrays, vectors do not take scalars.
  void read(Names names, int64_t& out);
  void read(Names names, double& out);
  void read(Names names, bool& out);
  void read(Names names, std::string& out);
  void read(Names names, std::vector<int64_t>& out);
  void read(Names names, std::vector<double>& out);

  template <typename T>
  void read_optional(Names names, T& out) {
    if (has(names)) read(names, out);
  }
  /// Absent, or this number.
  void expect(Names names, int64_t value);
  void ignore(Names names) { known_.insert(names.begin(), names.end()); }

  void append_unknown(std::vector<std::string>& out) const;
  void fault(Names names, std::string_view expected);

 private:
  const GgufValue* find(Names names);
  const GgufValue* require(Names names, bool array, std::string_view expected);

  const GgufFile* gguf_;
  std::string prefix_;
  std::vector<std::string>* faults_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace lethe::internal
