#include "tensor/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/error.h"
#include "temporary_directory.h"
#include "tensor/gguf_parser.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;
using Type = GgufValue::Type;

/// Builds GGUF bytes field by field, so that tests can break any of them.
class Bytes {
 public:
  template <typename T>
  Bytes& put(T number) {
    const auto* at = reinterpret_cast<const std::byte*>(&number);
    bytes_.insert(bytes_.end(), at, at + sizeof number);
    return *this;
  }
  Bytes& text(std::string_view text) {
    put(uint64_t{text.size()});
    return raw(text);
  }
  Bytes& raw(std::string_view text) {
    const auto* at = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), at, at + text.size());
    return *this;
  }
  Bytes& head(uint64_t tensors, uint64_t values, uint32_t version = 3) {
    return raw("GGUF").put(version).put(tensors).put(values);
  }
  Bytes& tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    text(name).put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) put(dim);
    return put(type).put(offset);
  }
  template <typename T>
  Bytes& value(std::string_view key, Type type, T number) {
    return text(key).put(static_cast<uint32_t>(type)).put(number);
  }
  Bytes& array(std::string_view key, Type element, uint64_t count) {
    return text(key)
        .put(static_cast<uint32_t>(Type::Array))
        .put(static_cast<uint32_t>(element))
        .put(count);
  }
  Bytes& data(size_t count, size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    bytes_.resize(bytes_.size() + count, std::byte(7));
    return *this;
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

std::string rejection(const Bytes& file) {
  try {
    GgufFile::parse(file.bytes(), "x.gguf");
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

std::string open_error(const std::string& path) {
  try {
    GgufFile::open(path);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

TEST(Gguf, ReadsBothVersionsAndReversesDimensions) {
  for (const uint32_t version : {2U, 3U}) {
    Bytes file;
    file.head(2, 1, version).value("n", Type::U32, uint32_t{7});
    file.tensor("a", {64, 3}, 8, 0).tensor("b", {2, 3, 4}, 0, 224).data(224 + 96);
    const GgufFile gguf = GgufFile::parse(file.bytes(), "x");
    ASSERT_EQ(gguf.tensors().size(), 2U);
    EXPECT_EQ(gguf.find("a")->shape, (Shape{3, 64}));
    EXPECT_EQ(gguf.find("a")->dtype, DType::Q8_0);
    EXPECT_EQ(gguf.find("a")->data.size(), 3U * 2 * 34);
    EXPECT_EQ(gguf.find("b")->shape, (Shape{4, 3, 2}));
    EXPECT_EQ(gguf.find("b")->data.data(), file.bytes().data() + gguf.find("b")->offset);
    EXPECT_EQ(gguf.find("b")->data[0], std::byte(7));
    EXPECT_EQ(gguf.find("c"), nullptr);
    EXPECT_EQ(gguf.value("n")->as_int(), 7);
    EXPECT_EQ(gguf.value("m"), nullptr);
  }
}

TEST(Gguf, GettersTakeEveryWidthThatFits) {
  Bytes file;
  file.head(0, 12)
      .value("u8", Type::U8, uint8_t{1})
      .value("i8", Type::I8, int8_t{-2})
      .value("u16", Type::U16, uint16_t{65535})
      .value("i16", Type::I16, int16_t{-3})
      .value("i32", Type::I32, int32_t{-4})
      .value("u64", Type::U64, UINT64_MAX)
      .value("i64", Type::I64, INT64_MIN)
      .value("f32", Type::F32, 0.5F)
      .value("f64", Type::F64, 0.25)
      .value("bool", Type::Bool, uint8_t{2})
      .value("u32", Type::U32, uint32_t{1} << 31)
      .text("s")
      .put(static_cast<uint32_t>(Type::String))
      .text("word");
  const GgufFile gguf = GgufFile::parse(file.bytes(), "x");
  const auto at = [&](const char* key) { return *gguf.value(key); };
  EXPECT_EQ(at("u8").as_uint(), 1U);
  EXPECT_EQ(at("u8").as_bool(), true);
  EXPECT_EQ(at("i8").as_int(), -2);
  EXPECT_EQ(at("i8").as_uint(), std::nullopt);
  EXPECT_EQ(at("u16").as_bool(), std::nullopt);
  EXPECT_EQ(at("u16").as_int(), 65535);
  EXPECT_EQ(at("i16").as_float(), -3.0);
  EXPECT_EQ(at("i32").as_int(), -4);
  EXPECT_EQ(at("u32").as_int(), int64_t{1} << 31);
  EXPECT_EQ(at("u64").as_uint(), UINT64_MAX);
  EXPECT_EQ(at("u64").as_int(), std::nullopt);
  EXPECT_EQ(at("i64").as_int(), INT64_MIN);
  EXPECT_EQ(at("f32").as_float(), 0.5);
  EXPECT_EQ(at("f32").as_int(), std::nullopt);
  EXPECT_EQ(at("f64").as_float(), 0.25);
  EXPECT_EQ(at("bool").as_bool(), true);
  EXPECT_EQ(at("bool").as_int(), std::nullopt);
  EXPECT_EQ(at("s").as_string(), "word");
  EXPECT_EQ(at("s").as_int(), std::nullopt);
  EXPECT_EQ(at("s").as_float(), std::nullopt);
  EXPECT_EQ(at("u8").as_string(), std::nullopt);
  EXPECT_EQ(at("u8").as_int(1), std::nullopt);
  EXPECT_TRUE(at("s").strings().empty());
}

TEST(Gguf, ReadsArrays) {
  Bytes file;
  file.head(0, 3);
  file.array("ints", Type::I32, 3).put(int32_t{1}).put(int32_t{-1}).put(int32_t{9});
  file.array("words", Type::String, 3).text("a").text("").text("ccc");
  file.array("none", Type::F32, 0);
  const GgufFile gguf = GgufFile::parse(file.bytes(), "x");
  const GgufValue& ints = *gguf.value("ints");
  EXPECT_TRUE(ints.is_array());
  EXPECT_EQ(ints.element_type(), Type::I32);
  EXPECT_EQ(ints.size(), 3U);
  EXPECT_EQ(ints.as_int(1), -1);
  EXPECT_EQ(ints.as_float(2), 9.0);
  EXPECT_EQ(ints.as_int(3), std::nullopt);
  EXPECT_EQ(gguf.value("words")->strings(), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(gguf.value("words")->as_string(), std::nullopt);
  EXPECT_EQ(gguf.value("none")->size(), 0U);
}

TEST(Gguf, SaysWhichVersionItIs) {
  EXPECT_THAT(rejection(Bytes().head(0, 0, 1)), HasSubstr("32-bit counts"));
  EXPECT_THAT(rejection(Bytes().head(0, 0, 4)), HasSubstr("version 4"));
  EXPECT_THAT(rejection(Bytes().head(0, 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(rejection(Bytes().raw("GGML").put(uint64_t{0})), HasSubstr("GGUF"));
}

TEST(Gguf, NamesTheEngineOfForeignTypes) {
  const auto of_type = [](uint32_t type) {
    return rejection(Bytes().head(1, 0).tensor("blk.0.w", {256}, type, 0).data(2048));
  };
  EXPECT_THAT(of_type(4), HasSubstr("blk.0.w: is of type 4 (Q4_2), which ggml has removed"));
  EXPECT_THAT(of_type(38), HasSubstr("IQ4_NL_8_8"));
  EXPECT_THAT(of_type(15), HasSubstr("Q8_K"));
  EXPECT_THAT(of_type(50), HasSubstr("fork"));
  EXPECT_THAT(of_type(145), HasSubstr("IQ2_KS"));
  EXPECT_THAT(of_type(222), HasSubstr("ik_llama.cpp"));
  EXPECT_THAT(of_type(UINT32_MAX), HasSubstr("unknown type 4294967295"));
  EXPECT_EQ(of_type(10), "");
}

/// Whatever a number in the file says, nothing is read outside it and nothing crashes.
TEST(Gguf, EveryTruncationIsRejected) {
  Bytes file;
  file.head(2, 2).array("words", Type::String, 2).text("a").text("bb");
  file.value("n", Type::U16, uint16_t{3});
  file.tensor("a", {32}, 8, 0).tensor("b", {8}, 0, 64).data(64 + 32);
  ASSERT_EQ(rejection(file), "");
  for (size_t size = 0; size < file.bytes().size(); ++size) {
    // An exact copy, so that a sanitizer sees a read past the end.
    const std::vector<std::byte> cut(file.bytes().begin(),
                                     file.bytes().begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(GgufFile::parse(cut, "x"), LoadError) << size;
  }
}

TEST(Gguf, ChecksSizesWithoutWrapping) {
  const auto one = [](std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    return rejection(Bytes().head(1, 0).tensor("a", std::move(dims), type, offset).data(256));
  };
  EXPECT_EQ(one({64}, 0, 0), "");
  EXPECT_EQ(one({56}, 0, 32), "");
  EXPECT_NE(one({64}, 0, 32), "");
  EXPECT_NE(one({64}, 0, 16), "");
  EXPECT_NE(one({64}, 0, UINT64_MAX - 31), "");
  EXPECT_NE(one({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0), "");
  EXPECT_NE(one({uint64_t{1} << 47, uint64_t{1} << 15}, 0, 0), "");
  EXPECT_NE(one({uint64_t{1} << 48}, 0, 0), "");
  EXPECT_NE(one({0}, 0, 0), "");
  EXPECT_NE(one({}, 0, 0), "");
  EXPECT_NE(one({1, 1, 1, 1, 1}, 0, 0), "");
  EXPECT_NE(one({48, 2}, 8, 0), "");
}

TEST(Gguf, TensorsMayNotOverlapInAnyOrder) {
  const auto two = [](uint64_t first, uint64_t second) {
    return rejection(
        Bytes().head(2, 0).tensor("a", {16}, 0, first).tensor("b", {16}, 0, second).data(192));
  };
  EXPECT_EQ(two(0, 64), "");
  EXPECT_EQ(two(128, 0), "");
  EXPECT_THAT(two(0, 32), HasSubstr("overlap"));
  EXPECT_THAT(two(64, 32), HasSubstr("overlap"));
  EXPECT_THAT(two(0, 0), HasSubstr("overlap"));
}

TEST(Gguf, NamesAndKeysAreUniqueAndBounded) {
  const auto named = [](const std::string& name) {
    return rejection(Bytes().head(1, 0).tensor(name, {8}, 0, 0).data(32));
  };
  EXPECT_EQ(named(std::string(63, 'n')), "");
  EXPECT_NE(named(std::string(64, 'n')), "");
  EXPECT_NE(named(""), "");
  EXPECT_THAT(rejection(Bytes().head(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(64)),
              HasSubstr("a: occurs twice"));
  EXPECT_THAT(
      rejection(
          Bytes().head(0, 2).value("k", Type::U8, uint8_t{1}).value("k", Type::U8, uint8_t{1})),
      HasSubstr("'k' occurs twice"));
}

TEST(Gguf, AlignmentIsAPowerOfTwoOfTypeU32) {
  const auto aligned = [](auto number, Type type, size_t alignment) {
    return rejection(Bytes()
                         .head(1, 1)
                         .value("general.alignment", type, number)
                         .tensor("a", {8}, 0, 0)
                         .data(32, alignment));
  };
  EXPECT_EQ(aligned(uint32_t{64}, Type::U32, 64), "");
  EXPECT_EQ(aligned(uint32_t{1}, Type::U32, 1), "");
  EXPECT_THAT(aligned(uint32_t{0}, Type::U32, 32), HasSubstr("power of two"));
  EXPECT_THAT(aligned(uint32_t{48}, Type::U32, 48), HasSubstr("power of two"));
  EXPECT_THAT(aligned(uint64_t{32}, Type::U64, 32), HasSubstr("must be u32"));
}

TEST(Gguf, ReadsALargeVocabularyQuickly) {
  const TemporaryDirectory directory;
  std::vector<std::string> tokens;
  for (int i = 0; i < 130'000; ++i) tokens.push_back(fmt::format("token{}", i));
  GgufWriter(directory.file("v.gguf"), {{"tokens", tokens}}, {}).finish();
  const auto start = std::chrono::steady_clock::now();
  const GgufFile gguf = GgufFile::open(directory.file("v.gguf"));
  const std::vector<std::string_view> read = gguf.value("tokens")->strings();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
  ASSERT_EQ(read.size(), tokens.size());
  EXPECT_EQ(read.back(), tokens.back());
}

std::vector<std::byte> random_bytes(size_t size, std::mt19937& random) {
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

TEST(GgufWriter, RoundTripsEveryValueType) {
  const TemporaryDirectory directory;
  const std::vector<std::pair<std::string, GgufWriteValue>> kv = {
      {"u32", uint32_t{4'000'000'000}},
      {"i32", int32_t{-5}},
      {"u64", UINT64_MAX},
      {"i64", INT64_MIN},
      {"f32", 1.5F},
      {"bool", true},
      {"string", std::string("a\0b", 3)},
      {"i32s", std::vector<int32_t>{1, -2}},
      {"i64s", std::vector<int64_t>{1, INT64_MAX}},
      {"f32s", std::vector<float>{0.5F}},
      {"strings", std::vector<std::string>{"x", "", "yy"}},
      {"empty", std::vector<std::string>{}},
  };
  GgufWriter(directory.file("v.gguf"), kv, {}).finish();
  const GgufFile gguf = GgufFile::open(directory.file("v.gguf"));
  EXPECT_EQ(gguf.values().size(), kv.size());
  EXPECT_EQ(gguf.value("u32")->as_uint(), 4'000'000'000U);
  EXPECT_EQ(gguf.value("u32")->type(), Type::U32);
  EXPECT_EQ(gguf.value("i32")->as_int(), -5);
  EXPECT_EQ(gguf.value("u64")->as_uint(), UINT64_MAX);
  EXPECT_EQ(gguf.value("i64")->as_int(), INT64_MIN);
  EXPECT_EQ(gguf.value("f32")->as_float(), 1.5);
  EXPECT_EQ(gguf.value("bool")->as_bool(), true);
  EXPECT_EQ(gguf.value("string")->as_string(), std::string_view("a\0b", 3));
  EXPECT_EQ(gguf.value("i32s")->as_int(1), -2);
  EXPECT_EQ(gguf.value("i64s")->as_int(1), INT64_MAX);
  EXPECT_EQ(gguf.value("f32s")->as_float(0), 0.5);
  EXPECT_EQ(gguf.value("strings")->strings(), (std::vector<std::string_view>{"x", "", "yy"}));
  EXPECT_EQ(gguf.value("empty")->size(), 0U);
}

TEST(GgufWriter, RoundTripsTensorsOfEveryType) {
  const TemporaryDirectory directory;
  std::mt19937 random(3);
  std::vector<DType> dtypes;
  for (const DTypeInfo& info : all_dtypes()) {
    if (info.ggml_id >= 0) dtypes.push_back(info.dtype);
  }
  for (int round = 0; round < 20; ++round) {
    std::vector<TensorPlan> plan;
    std::vector<std::vector<std::byte>> contents;
    for (size_t i = 0; i < dtypes.size(); ++i) {
      const DTypeInfo& info = dtype_info(dtypes[random() % dtypes.size()]);
      Shape shape(1 + random() % 4);
      for (int64_t& dim : shape) dim = 1 + static_cast<int64_t>(random() % 3);
      shape.back() *= info.block_elements;
      plan.push_back({fmt::format("blk.{}.w", i), info.dtype, shape});
      const auto elements = static_cast<size_t>(num_elements(shape));
      contents.push_back(random_bytes(elements / info.block_elements * info.block_bytes, random));
    }
    const std::string path = directory.file("t.gguf");
    GgufWriter writer(path, {{"general.architecture", std::string("deepseek4")}}, plan);
    for (const std::vector<std::byte>& bytes : contents) {
      const size_t cut = random() % (bytes.size() + 1);
      writer.append(std::span(bytes).first(cut));
      if (cut < bytes.size()) writer.append(std::span(bytes).subspan(cut));
    }
    writer.finish();
    const GgufFile gguf = GgufFile::open(path);
    ASSERT_EQ(gguf.tensors().size(), plan.size());
    for (size_t i = 0; i < plan.size(); ++i) {
      const TensorView& view = gguf.tensors()[i];
      EXPECT_EQ(view.name, plan[i].name);
      EXPECT_EQ(view.dtype, plan[i].dtype);
      EXPECT_EQ(view.shape, plan[i].shape);
      EXPECT_EQ(view.file, path);
      EXPECT_TRUE(std::ranges::equal(view.data, contents[i]));
    }
  }
}

/// A model in three parts; the first holds metadata only.
class SplitGguf : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int part = 0; part < 3; ++part) write_part(part, part, 3, 4);
  }
  std::string part(int number) const {
    return directory_.file(fmt::format("m-{:05d}-of-00003.gguf", number + 1));
  }
  void write_part(int file, int number, int count, int tensors, const std::string& extra = "") {
    std::vector<std::pair<std::string, GgufWriteValue>> kv;
    if (file == 0) kv.emplace_back("general.architecture", std::string("deepseek4"));
    kv.emplace_back("split.no", static_cast<uint32_t>(number));
    kv.emplace_back("split.count", static_cast<int32_t>(count));
    kv.emplace_back("split.tensors.count", static_cast<int32_t>(tensors));
    std::vector<TensorPlan> plan;
    if (file > 0) plan = {{fmt::format("a{}", file), DType::I8, {1}}, {"", DType::I8, {1}}};
    if (file > 0) plan[1].name = extra.empty() ? fmt::format("b{}", file) : extra;
    GgufWriter writer(part(file), kv, plan);
    const auto mark = static_cast<std::byte>(file);
    for (size_t i = 0; i < plan.size(); ++i) writer.append(std::span(&mark, 1));
    writer.finish();
  }
  TemporaryDirectory directory_;
};

TEST_F(SplitGguf, AnyPartOpensAll) {
  for (int i = 0; i < 3; ++i) {
    const GgufFile gguf = GgufFile::open(part(i));
    EXPECT_EQ(gguf.files().size(), 3U);
    EXPECT_EQ(gguf.tensors().size(), 4U);
    EXPECT_EQ(gguf.value("general.architecture")->as_string(), "deepseek4");
    EXPECT_EQ(gguf.find("b2")->data[0], std::byte(2));
    EXPECT_EQ(gguf.find("b2")->file, part(2));
  }
}

TEST_F(SplitGguf, NamesAMissingPart) {
  std::filesystem::remove(part(0));
  EXPECT_THAT(open_error(part(1)), HasSubstr("m-00001-of-00003.gguf: is missing"));
}

TEST_F(SplitGguf, PartsMustAgree) {
  write_part(2, 1, 3, 4);
  EXPECT_THAT(open_error(part(0)), HasSubstr("part 3 of 3, its metadata say part 2 of 3"));
  write_part(2, 2, 4, 4);
  EXPECT_THAT(open_error(part(0)), HasSubstr("its metadata say part 3 of 4"));
  write_part(2, 7, 3, 4);
  EXPECT_THAT(open_error(part(0)), HasSubstr("split.no counts from 0"));
  write_part(2, 2, 1, 4);
  EXPECT_THAT(open_error(part(0)), HasSubstr("no split.count"));
  write_part(2, 2, 3, 4, "a1");
  EXPECT_THAT(open_error(part(0)), HasSubstr("a1: occurs twice"));
  write_part(2, 2, 3, 4);
  EXPECT_EQ(open_error(part(0)), "");
  write_part(0, 0, 3, 5);
  EXPECT_THAT(open_error(part(0)), HasSubstr("split.tensors.count is 5"));
}

TEST_F(SplitGguf, ARenamedPartSaysSo) {
  std::filesystem::rename(part(0), directory_.file("model.gguf"));
  EXPECT_THAT(open_error(directory_.file("model.gguf")), HasSubstr("original names"));
}

}  // namespace
}  // namespace lethe
