#include "model/trace.h"

#include <algorithm>
#include <limits>

namespace lethe::model {

namespace {

bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

template <typename T>
std::vector<T> padded(const std::vector<std::vector<T>>& rows, T fill) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.size());
  std::vector<T> out;
  out.reserve(rows.size() * width);
  for (const auto& row : rows) {
    out.insert(out.end(), row.begin(), row.end());
    out.insert(out.end(), width - row.size(), fill);
  }
  return out;
}

template <typename T>
int64_t longest(const std::vector<std::vector<T>>& rows) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.size());
  return static_cast<int64_t>(width);
}

}  // namespace

std::vector<int64_t> Trace::Entry::shape() const {
  std::vector<int64_t> shape{num_rows()};
  if (row_shape.empty()) {
    shape.push_back(integer ? longest(int_rows) : longest(rows));
  } else {
    shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  }
  return shape;
}

std::vector<float> Trace::Entry::values() const {
  return padded(rows, -std::numeric_limits<float>::infinity());
}

std::vector<int32_t> Trace::Entry::int_values() const {
  return padded(int_rows, int32_t{-1});
}

bool Trace::wants(std::string_view name) const {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const std::string& pattern) { return matches(pattern, name); });
}

void Trace::add_row(const std::string& name, std::span<const float> row,
                    std::vector<int64_t> row_shape) {
  Entry& entry = entries_[name];
  entry.row_shape = std::move(row_shape);
  entry.rows.emplace_back(row.begin(), row.end());
}

void Trace::add_row(const std::string& name, std::span<const int32_t> row) {
  Entry& entry = entries_[name];
  entry.integer = true;
  entry.int_rows.emplace_back(row.begin(), row.end());
}

void Trace::add(const std::string& name, const ops::Matrix& rows, std::vector<int64_t> row_shape) {
  for (int64_t r = 0; r < rows.rows(); ++r) add_row(name, rows.row(r), row_shape);
}

void Trace::add(const std::string& name, const ops::IndexMatrix& rows) {
  for (int64_t r = 0; r < rows.rows(); ++r) add_row(name, rows.row(r));
}

}  // namespace lethe::model
