#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "golden_paths.h"
#include "ops/matrix.h"
#include "tensor/rounding.h"
#include "tensor/safetensors.h"

namespace lethe::testing {

/// A golden .safetensors file, with its tensors as plain vectors.
class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path)
      : file_(SafetensorsFile::open(path.string())) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  const Shape& shape(const std::string& name) const { return view(name).shape; }
  int64_t rows(const std::string& name) const { return shape(name).at(0); }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const TensorView& tensor : file_.tensors()) all.push_back(tensor.name);
    return all;
  }

  /// F32 or BF16 values.
  std::vector<float> floats(const std::string& name) const {
    const TensorView& tensor = view(name);
    std::vector<float> values(static_cast<size_t>(num_elements(tensor.shape)));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = tensor.dtype == DType::BF16
                      ? bf16_to_f32(load_unaligned<uint16_t>(tensor.data.data() + 2 * i))
                      : load_unaligned<float>(tensor.data.data() + 4 * i);
    }
    return values;
  }
  /// The same as a matrix: first axis rows, the rest one row.
  ops::Matrix matrix(const std::string& name) const {
    const std::vector<float> values = floats(name);
    const int64_t num_rows = rows(name);
    ops::Matrix out(num_rows, num_rows == 0 ? 0 : num_elements(shape(name)) / num_rows);
    std::copy(values.begin(), values.end(), out.values().begin());
    return out;
  }
  /// I32, I64 or U8 values.
  std::vector<int64_t> ints(const std::string& name) const {
    const TensorView& tensor = view(name);
    std::vector<int64_t> values(static_cast<size_t>(num_elements(tensor.shape)));
    for (size_t i = 0; i < values.size(); ++i) {
      const std::byte* p = tensor.data.data();
      switch (tensor.dtype) {
        case DType::I64:
          values[i] = load_unaligned<int64_t>(p + 8 * i);
          break;
        case DType::I32:
          values[i] = load_unaligned<int32_t>(p + 4 * i);
          break;
        default:
          values[i] = load_unaligned<uint8_t>(p + i);
          break;
      }
    }
    return values;
  }
  std::vector<int32_t> tokens(const std::string& name) const {
    const std::vector<int64_t> values = ints(name);
    return {values.begin(), values.end()};
  }

 private:
  const TensorView& view(const std::string& name) const {
    const TensorView* tensor = file_.find(name);
    if (tensor == nullptr) throw Error("golden tensor {} is missing", name);
    return *tensor;
  }

  SafetensorsFile file_;
};

/// |a - b| / |b| over a row.
inline double relative_l2(std::span<const float> a, std::span<const float> b) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += d * d;
    size += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return std::sqrt(difference / std::max(size, 1e-30));
}

/// How two sets of logits agree.
struct Agreement {
  std::vector<double> rows;  ///< relative L2, sorted
  double top1 = 0;           ///< share of rows with the same best token
  double median() const { return rows[rows.size() / 2]; }
  double quantile(double q) const {
    return rows[static_cast<size_t>(q * static_cast<double>(rows.size() - 1))];
  }
  double worst() const { return rows.back(); }
};

inline Agreement compare(const ops::Matrix& found, const ops::Matrix& expected) {
  Agreement result;
  int64_t same = 0;
  for (int64_t r = 0; r < expected.rows(); ++r) {
    const auto a = found.row(r);
    const auto b = expected.row(r);
    result.rows.push_back(relative_l2(a, b));
    same += std::max_element(a.begin(), a.end()) - a.begin() ==
            std::max_element(b.begin(), b.end()) - b.begin();
  }
  std::sort(result.rows.begin(), result.rows.end());
  result.top1 = static_cast<double>(same) / static_cast<double>(expected.rows());
  return result;
}

/// Share of rows that are equal in every value.
inline double equal_rows(const ops::Matrix& found, const ops::Matrix& expected) {
  int64_t same = 0;
  for (int64_t r = 0; r < expected.rows(); ++r) {
    const auto a = found.row(r);
    const auto b = expected.row(r);
    same += std::equal(a.begin(), a.end(), b.begin());
  }
  return static_cast<double>(same) / static_cast<double>(expected.rows());
}

/// Directories under the golden folders that hold `file`, whose name starts with `prefix`; the
/// names in `known` are listed even where they are absent (their tests are then skipped).
inline std::vector<std::string> golden_sets(const std::string& prefix, const std::string& file,
                                            std::vector<std::string> known) {
  for (const auto& root : {golden_dir(), shared_golden_dir()}) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(root, ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(prefix) && std::filesystem::exists(entry.path() / file)) {
        known.push_back(name);
      }
    }
  }
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  return known;
}

/// Where a golden set lies; empty if it is absent.
inline std::filesystem::path golden_set(const std::string& name) {
  for (const auto& root : {golden_dir(), shared_golden_dir()}) {
    if (std::filesystem::exists(root / name)) return root / name;
  }
  return {};
}

/// A golden set's name as part of a test's name.
inline std::string test_name(const std::string& set) {
  std::string name = set;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

}  // namespace lethe::testing
