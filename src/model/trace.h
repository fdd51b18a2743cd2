#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/matrix.h"

namespace lethe::model {

/// Collects named intermediates of forward passes whose names match one of some patterns
/// (`*` any run, `?` any character). Rows of successive chunks are joined. One thread.
class Trace {
 public:
  explicit Trace(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}

  /// One collected tensor: rows of `row_shape`, f32 or i32. Ragged rows are padded to the longest
  /// (-infinity or -1) when read.
  struct Entry {
    bool integer = false;
    std::vector<int64_t> row_shape;
    std::vector<std::vector<float>> rows;
    std::vector<std::vector<int32_t>> int_rows;
    int64_t num_rows() const {
      return static_cast<int64_t>(integer ? int_rows.size() : rows.size());
    }
    /// [num_rows, width...]: width is the longest row for ragged ones.
    std::vector<int64_t> shape() const;
    std::vector<float> values() const;
    std::vector<int32_t> int_values() const;
  };

  bool wants(std::string_view name) const;
  void add_row(const std::string& name, std::span<const float> row,
               std::vector<int64_t> row_shape = {});
  void add_row(const std::string& name, std::span<const int32_t> row);
  void add(const std::string& name, const ops::Matrix& rows, std::vector<int64_t> row_shape = {});
  void add(const std::string& name, const ops::IndexMatrix& rows);

  const std::map<std::string, Entry>& entries() const noexcept { return entries_; }

 private:
  std::vector<std::string> patterns_;
  std::map<std::string, Entry> entries_;
};

/// A place in the model that names what it hands to a Trace: "layers.3." + "attn_out". Free when
/// there is no trace.
class TraceScope {
 public:
  TraceScope() = default;
  explicit TraceScope(Trace* trace, std::string prefix = {})
      : trace_(trace), prefix_(std::move(prefix)) {}

  TraceScope inside(std::string_view name) const {
    return trace_ == nullptr ? TraceScope() : TraceScope(trace_, prefix_ + std::string(name) + ".");
  }
  /// "layers", 3 -> names below "layers.3."
  TraceScope inside(std::string_view name, size_t index) const {
    return trace_ == nullptr ? TraceScope()
                             : inside(std::string(name) + "." + std::to_string(index));
  }
  bool is_on() const noexcept { return trace_ != nullptr; }
  bool wants(std::string_view name) const {
    return trace_ != nullptr && trace_->wants(prefix_ + std::string(name));
  }
  template <typename Rows>
  void add(std::string_view name, const Rows& rows) const {
    if (wants(name)) trace_->add(prefix_ + std::string(name), rows);
  }
  void add(std::string_view name, const ops::Matrix& rows,
           std::initializer_list<int64_t> row_shape) const {
    if (wants(name)) trace_->add(prefix_ + std::string(name), rows, std::vector(row_shape));
  }
  template <typename Value>
  void add_row(std::string_view name, std::span<Value> row) const {
    if (wants(name)) trace_->add_row(prefix_ + std::string(name), row);
  }

 private:
  Trace* trace_ = nullptr;
  std::string prefix_;
};

}  // namespace lethe::model
