#include "tensor/safetensors_header.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/printable.h"

namespace lethe::internal {

namespace {

namespace od = simdjson::ondemand;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the official library's bound
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxNameBytes = 512;
constexpr size_t kMaxRank = 64;
constexpr uint64_t kMaxInteger = uint64_t{1} << 53;  // exclusive: exact in every JSON library

struct StoredDType {
  std::optional<DType> dtype;
  uint64_t bits = 0;
};

std::optional<StoredDType> stored_dtype(std::string_view name) {
  if (const std::optional<DType> dtype = dtype_from_safetensors(name)) {
    return StoredDType{dtype, uint64_t{dtype_info(*dtype).block_bytes} * 8};
  }
  if (name == "F4") return StoredDType{std::nullopt, 4};
  if (name == "F6_E2M3" || name == "F6_E3M2") return StoredDType{std::nullopt, 6};
  if (name == "C64") return StoredDType{std::nullopt, 64};
  return std::nullopt;
}

/// Walks the JSON object of a header. Every value is consumed and typed, so that simdjson's lazy
/// parser has checked the whole text when it reaches the end; no call recurses.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, uint64_t data_bytes)
      : path_(path), data_bytes_(data_bytes) {}

  void parse(std::string_view text, SafetensorsHeader& out);

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw LoadError("{}: {}", path_, fmt::format(format, std::forward<Args>(args)...));
  }

  void metadata(od::value value, std::map<std::string, std::string>& out);
  SafetensorsEntry entry(std::string_view name, od::value value);
  Shape shape(const std::string& tensor, od::value value);
  void offsets(const std::string& tensor, od::value value, SafetensorsEntry& out);
  std::string_view string(const std::string& owner, std::string_view what, od::value value);
  uint64_t integer(const std::string& tensor, std::string_view what, od::value value);
  void check_size(const std::string& tensor, const SafetensorsEntry& entry, uint64_t bits);

  const std::string& path_;
  uint64_t data_bytes_;
};

void HeaderParser::parse(std::string_view text, SafetensorsHeader& out) {
  od::parser parser;
  const simdjson::padded_string padded(text);
  od::document document = parser.iterate(padded);
  bool has_metadata = false;
  for (od::field field : document.get_object()) {
    const std::string_view name = field.unescaped_key();
    // simdjson 3.0 turns a lone surrogate escape into bytes that are no UTF-8.
    if (!simdjson::validate_utf8(name)) fail("the tensor name '{}' is no UTF-8.", printable(name));
    if (name == "__metadata__") {
      if (std::exchange(has_metadata, true)) fail("the header has two \"__metadata__\" entries.");
      metadata(field.value(), out.metadata);
      continue;
    }
    if (name.size() > kMaxNameBytes) {
      fail("a tensor name has {} bytes, more than {} are not accepted: '{}'.", name.size(),
           kMaxNameBytes, printable(name));
    }
    if (out.entries.size() == kMaxTensors) fail("has more than {} tensors.", kMaxTensors);
    out.entries.push_back(entry(name, field.value()));
  }
  const bool at_end = document.current_location().error() == simdjson::OUT_OF_BOUNDS;
  if (!at_end) fail("something follows the header's JSON object.");
}

std::string_view HeaderParser::string(const std::string& owner, std::string_view what,
                                      od::value value) {
  if (value.type() != od::json_type::string) fail("{}: {} is not a string.", owner, what);
  const std::string_view text = value.get_string();
  if (!simdjson::validate_utf8(text)) fail("{}: {} is no UTF-8.", owner, what);
  return text;
}

void HeaderParser::metadata(od::value value, std::map<std::string, std::string>& out) {
  const std::string owner = "__metadata__";
  if (value.type() != od::json_type::object) fail("{} is not an object.", owner);
  for (od::field field : value.get_object()) {
    std::string key(std::string_view(field.unescaped_key()));
    const std::string shown = printable(key);
    const std::string_view text = string(owner, shown, field.value());
    if (!out.emplace(std::move(key), text).second) fail("{}: {} occurs twice.", owner, shown);
  }
}

uint64_t HeaderParser::integer(const std::string& tensor, std::string_view what, od::value value) {
  // The literal itself: "-0", "1.0" and "1e3" are whole numbers for a JSON library but not here.
  std::string_view token = value.raw_json_token();
  token = token.substr(0, token.find_last_not_of(" \t\r\n") + 1);
  const bool digits = !token.empty() && std::all_of(token.begin(), token.end(),
                                                    [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || (token.size() > 1 && token.front() == '0')) {
    fail("{}: {} must hold whole numbers of 0 or more, found '{}'.", tensor, what,
         printable(token, 40));
  }
  uint64_t number = 0;
  for (const char c : token) {
    number = number * 10 + static_cast<uint64_t>(c - '0');
    if (number >= kMaxInteger) {
      fail("{}: {} holds {}; the format allows numbers below 2^53.", tensor, what,
           printable(token, 40));
    }
  }
  return number;
}

Shape HeaderParser::shape(const std::string& tensor, od::value value) {
  if (value.type() != od::json_type::array) fail("{}: shape is not an array.", tensor);
  Shape dims;
  for (od::value dim : value.get_array()) {
    if (dims.size() == kMaxRank) fail("{}: more than {} dimensions.", tensor, kMaxRank);
    dims.push_back(static_cast<int64_t>(integer(tensor, "shape", dim)));
  }
  return dims;
}

void HeaderParser::offsets(const std::string& tensor, od::value value, SafetensorsEntry& out) {
  if (value.type() != od::json_type::array) fail("{}: data_offsets is not an array.", tensor);
  uint64_t pair[2] = {};
  size_t count = 0;
  for (od::value item : value.get_array()) {
    const uint64_t offset = integer(tensor, "data_offsets", item);
    if (count == 2) fail("{}: data_offsets has more than two numbers.", tensor);
    pair[count++] = offset;
  }
  if (count != 2) fail("{}: data_offsets has {} numbers, two are needed.", tensor, count);
  out.begin = pair[0];
  out.end = pair[1];
}

SafetensorsEntry HeaderParser::entry(std::string_view name, od::value value) {
  SafetensorsEntry result;
  result.name = name;
  const std::string shown = printable(name);
  if (value.type() != od::json_type::object) fail("{}: its header entry is no object.", shown);
  bool has_dtype = false;
  bool has_shape = false;
  bool has_offsets = false;
  for (od::field field : value.get_object()) {
    const std::string_view key = field.unescaped_key();
    bool* seen = key == "dtype"          ? &has_dtype
                 : key == "shape"        ? &has_shape
                 : key == "data_offsets" ? &has_offsets
                                         : nullptr;
    if (seen == nullptr) fail("{}: unknown field '{}' in the header.", shown, printable(key));
    if (std::exchange(*seen, true)) fail("{}: {} occurs twice.", shown, key);
    if (seen == &has_dtype) result.dtype_name = string(shown, "dtype", field.value());
    if (seen == &has_shape) result.shape = shape(shown, field.value());
    if (seen == &has_offsets) offsets(shown, field.value(), result);
  }
  if (!has_dtype || !has_shape || !has_offsets) {
    fail("{}: the header gives no {}.", shown,
         !has_dtype   ? "dtype"
         : !has_shape ? "shape"
                      : "data_offsets");
  }
  const std::optional<StoredDType> stored = stored_dtype(result.dtype_name);
  if (!stored) fail("{}: unknown dtype '{}'.", shown, printable(result.dtype_name));
  result.dtype = stored->dtype;
  check_size(shown, result, stored->bits);
  return result;
}

void HeaderParser::check_size(const std::string& tensor, const SafetensorsEntry& entry,
                              uint64_t bits) {
  int64_t elements = 1;
  bool overflow = false;
  for (const int64_t dim : entry.shape) {
    overflow = overflow || __builtin_mul_overflow(elements, dim, &elements);
  }
  uint64_t total_bits = 0;
  overflow = overflow || __builtin_mul_overflow(static_cast<uint64_t>(elements), bits, &total_bits);
  if (overflow) {
    fail("{}: {} elements of {} are more than any file holds.", tensor, shape_string(entry.shape),
         entry.dtype_name);
  }
  if (entry.begin > entry.end || entry.end > data_bytes_) {
    fail("{}: data_offsets [{}, {}] do not lie in the data section, which has {} bytes{}.", tensor,
         entry.begin, entry.end, data_bytes_,
         entry.end > data_bytes_ ? "; the file may be an incomplete download" : "");
  }
  if (total_bits % 8 != 0 || entry.end - entry.begin != total_bits / 8) {
    fail("{}: {} {} takes {} bytes, but data_offsets [{}, {}] span {}.", tensor, entry.dtype_name,
         shape_string(entry.shape), (total_bits + 7) / 8, entry.begin, entry.end,
         entry.end - entry.begin);
  }
}

/// The tensors must tile the data section exactly, in whatever order the header lists them.
void check_coverage(const std::vector<SafetensorsEntry>& entries, uint64_t data_bytes,
                    const std::string& path) {
  std::vector<uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(entries[a].begin, entries[a].end) <
           std::pair(entries[b].begin, entries[b].end);
  });
  uint64_t covered = 0;
  for (const uint32_t index : order) {
    const SafetensorsEntry& entry = entries[index];
    if (entry.begin != covered) {
      throw LoadError(
          "{}: {}: starts at byte {} of the data section, but the tensor before it "
          "ends at byte {}: {}.",
          path, printable(entry.name), entry.begin, covered,
          entry.begin < covered ? "tensors overlap" : "there is a hole between tensors");
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    throw LoadError(
        "{}: the tensors end at byte {} of the data section, but it has {} bytes; the "
        "file is damaged.",
        path, covered, data_bytes);
  }
}

/// The JSON text: the header without the spaces that pad it.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& path) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length) {
    throw LoadError("{}: has {} bytes; a safetensors file has at least 8.", path, bytes.size());
  }
  std::memcpy(&length, bytes.data(), sizeof length);
  const uint64_t rest = bytes.size() - sizeof length;
  if (length < 2 || length > kMaxHeaderBytes) {
    throw LoadError(
        "{}: announces a header of {} bytes (2 to {} are possible); this is no "
        "safetensors file, or it is damaged.",
        path, length, kMaxHeaderBytes);
  }
  if (length > rest) {
    throw LoadError(
        "{}: announces a header of {} bytes, but only {} follow; the file may be an "
        "incomplete download.",
        path, length, rest);
  }
  std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length, length);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') {
    throw LoadError("{}: the header is no JSON object padded with spaces.", path);
  }
  return text;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes,
                                           const std::string& path) {
  const std::string_view text = header_text(bytes, path);
  SafetensorsHeader header;
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  header.data_start = sizeof length + length;
  const uint64_t data_bytes = bytes.size() - header.data_start;
  try {
    HeaderParser(path, data_bytes).parse(text, header);
  } catch (const simdjson::simdjson_error& error) {
    throw LoadError("{}: the header is no valid JSON: {}", path, error.what());
  }
  check_coverage(header.entries, data_bytes, path);
  return header;
}

}  // namespace lethe::internal
