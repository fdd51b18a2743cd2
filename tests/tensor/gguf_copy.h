#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tensor/gguf.h"

namespace lethe::testing {

/// A GGUF in memory, for tests to change before it is written again. Integers become i64.
struct GgufCopy {
  struct Tensor {
    TensorPlan plan;
    std::vector<std::byte> bytes;
  };
  std::vector<std::pair<std::string, GgufWriteValue>> metadata;
  std::vector<Tensor> tensors;

  explicit GgufCopy(const std::string& path) {
    const GgufFile file = GgufFile::open(path);
    for (const auto& [key, value] : file.values()) {
      if (key != "general.alignment") metadata.emplace_back(key, copy_of(value));
    }
    for (const TensorView& view : file.tensors()) {
      tensors.push_back(
          {{view.name, view.dtype, view.shape}, {view.data.begin(), view.data.end()}});
    }
  }

  void write(const std::string& path) const {
    std::vector<TensorPlan> plans;
    for (const Tensor& tensor : tensors) plans.push_back(tensor.plan);
    GgufWriter writer(path, metadata, plans);
    for (const Tensor& tensor : tensors) writer.append(tensor.bytes);
    writer.finish();
  }

  /// Adds a key or gives it another value.
  void set(const std::string& key, GgufWriteValue value) {
    erase_key(key);
    metadata.emplace_back(key, std::move(value));
  }
  void erase_key(const std::string& key) {
    std::erase_if(metadata, [&key](const auto& entry) { return entry.first == key; });
  }
  Tensor& at(const std::string& name) {
    const auto it = std::find_if(tensors.begin(), tensors.end(), [&name](const Tensor& tensor) {
      return tensor.plan.name == name;
    });
    if (it == tensors.end()) throw std::out_of_range("no tensor " + name);
    return *it;
  }
  void erase(const std::string& name) {
    std::erase_if(tensors, [&name](const Tensor& tensor) { return tensor.plan.name == name; });
  }

 private:
  static GgufWriteValue copy_of(const GgufValue& value) {
    using Type = GgufValue::Type;
    const Type kind = value.is_array() ? value.element_type() : value.type();
    if (kind == Type::String && !value.is_array()) return std::string(*value.as_string());
    if (kind == Type::String) {
      const auto views = value.strings();
      return std::vector<std::string>(views.begin(), views.end());
    }
    if (kind == Type::Bool && !value.is_array()) return *value.as_bool();
    const bool real = kind == Type::F32 || kind == Type::F64;
    if (real && !value.is_array()) return static_cast<float>(*value.as_float());
    if (!value.is_array()) return *value.as_int();
    if (real) {
      std::vector<float> numbers;
      for (uint64_t i = 0; i < value.size(); ++i) {
        numbers.push_back(static_cast<float>(*value.as_float(i)));
      }
      return numbers;
    }
    std::vector<int64_t> numbers;
    for (uint64_t i = 0; i < value.size(); ++i) numbers.push_back(*value.as_int(i));
    return numbers;
  }
};

}  // namespace lethe::testing
