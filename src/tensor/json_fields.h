#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_py.h"

namespace lethe::internal {

/// Typed access to one object of a config.json. Every access marks its field as known; what does
/// not fit is added to a list of faults ("PATH: found X, expected Y") and leaves the target as it
/// was. The object and the list must outlive this.
class JsonFields {
 public:
  /// `prefix` stands before names in messages: "" or "text_config.".
  JsonFields(const Json& object, std::string prefix, std::vector<std::string>& faults)
      : object_(&object), prefix_(std::move(prefix)), faults_(&faults) {}

  /// Present and not null.
  bool has(std::string_view name) const;

  /// Required fields. An integer is also a double.
  void read(std::string_view name, int64_t& out);
  void read(std::string_view name, double& out);
  void read(std::string_view name, bool& out);
  void read(std::string_view name, std::string& out);
  void read(std::string_view name, std::vector<int64_t>& out);

  /// Leaves `out` alone if the field is absent or null.
  template <typename T>
  void read_optional(std::string_view name, T& out) {
    known(name);
    if (has(name)) read(name, out);
  }

  /// Absent, null, or one of these texts. For fields that say what Lethe does anyway.
  void expect_text(std::string_view name, std::initializer_list<std::string_view> allowed);
  void expect_bool(std::string_view name, bool value);
  void expect_int(std::string_view name, int64_t value);

  /// The object under `name`; a fault and an empty object if it is none (absent is a fault too).
  JsonFields child(std::string_view name);

  /// Fields that have no meaning here.
  void ignore(std::initializer_list<std::string_view> names);
  /// Appends the dotted paths of all fields never asked for.
  void append_unknown(std::vector<std::string>& out) const;

  void fault(std::string_view name, std::string_view expected);

 private:
  const Json* find(std::string_view name) const;
  const Json* require(std::string_view name, std::string_view expected);
  void known(std::string_view name) { known_.emplace(name); }

  const Json* object_;
  std::string prefix_;
  std::vector<std::string>* faults_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace lethe::internal
