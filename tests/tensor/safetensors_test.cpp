#include "tensor/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;

std::vector<std::byte> file_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::vector<std::byte> bytes(sizeof length + header.size() + data_bytes);
  std::memcpy(bytes.data(), &length, sizeof length);
  std::memcpy(bytes.data() + sizeof length, header.data(), header.size());
  for (size_t i = 0; i < data_bytes; ++i) bytes[bytes.size() - data_bytes + i] = std::byte(i);
  return bytes;
}

/// Message of the LoadError that parsing throws; "" if it throws none.
std::string rejection(const std::string& header, size_t data_bytes) {
  const std::vector<std::byte> bytes = file_bytes(header, data_bytes);
  try {
    SafetensorsFile::parse(bytes, "x.safetensors");
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

std::string entry(const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":"U8","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

TEST(Safetensors, ReadsNamesShapesAndBytes) {
  const std::vector<std::byte> bytes = file_bytes(
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[2,2],"data_offsets":[8,12]},)"
      R"("a\u002eb":{"shape":[2],"data_offsets":[0,8],"dtype":"F32"}}   )",
      12);
  const SafetensorsFile file = SafetensorsFile::parse(bytes, "x");
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].name, "b");
  EXPECT_EQ(file.metadata().at("k"), "v");
  const TensorView* a = file.find("a.b");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, DType::F32);
  EXPECT_EQ(a->shape, Shape{2});
  EXPECT_EQ(a->data.size(), 8U);
  EXPECT_EQ(a->data.data(), bytes.data() + a->offset);
  EXPECT_EQ(file.find("b")->data[0], std::byte(8));
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(Safetensors, IntegersAreDigitsOnly) {
  EXPECT_EQ(rejection(entry("[4]", "[0,4]"), 4), "");
  EXPECT_EQ(rejection(entry("[ 4 ]", "[ 0 ,\n 4\t]"), 4), "");
  for (const char* shape :
       {"[-0,4]", "[4.0]", "[4e0]", "[+4]", "[04]", "[\"4\"]", "[null]", "[true]", "[[4]]", "[4,]",
        "[,4]", "[4 4]", "[4:4]", "[4[]]", "[4{}]", "4", "{}"}) {
    EXPECT_NE(rejection(entry(shape, "[0,4]"), 4), "") << shape;
  }
  for (const char* offsets : {"[0]", "[]", "[0,4,4]", "[0,4.0]", "[0,4e0]", "[-0,4]", "[0,-4]",
                              "[0,18446744073709551620]", "[0,[4]]", "{\"a\":0}", "\"0,4\""}) {
    EXPECT_NE(rejection(entry("[4]", offsets), 4), "") << offsets;
  }
}

TEST(Safetensors, AZeroByteIsNoSpace) {
  const std::string nul(1, '\0');
  EXPECT_NE(rejection(entry("[4" + nul + "]", "[0,4]"), 4), "");
  EXPECT_NE(rejection(entry("[4]", "[0,4" + nul + "]"), 4), "");
  EXPECT_NE(rejection(entry("[4]", "[0,4]" + nul), 4), "");
}

TEST(Safetensors, DimensionsEndBelowTwoToThe53) {
  EXPECT_EQ(rejection(entry("[9007199254740991,0]", "[0,0]"), 0), "");
  EXPECT_THAT(rejection(entry("[9007199254740992,0]", "[0,0]"), 0), HasSubstr("2^53"));
  EXPECT_THAT(rejection(entry("[4294967296,4294967296,0]", "[0,0]"), 0), HasSubstr("more than"));
  EXPECT_THAT(rejection(entry("[4294967296,4294967296]", "[0,0]"), 0), HasSubstr("more than"));
}

TEST(Safetensors, EveryFieldOnceAndNoOther) {
  EXPECT_THAT(rejection(R"({"a":{"dtype":"U8","shape":[0]}})", 0), HasSubstr("data_offsets"));
  EXPECT_THAT(rejection(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
              HasSubstr("twice"));
  EXPECT_THAT(rejection(R"({"a":{"x":1,"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
              HasSubstr("unknown field 'x'"));
  const std::string a = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  const std::string escaped = R"("\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(rejection("{" + a + "," + escaped + "}", 0), HasSubstr("occurs twice"));
  const std::string unusable = R"("a":{"dtype":"F4","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(rejection("{" + a + "," + unusable + "}", 0), HasSubstr("occurs twice"));
  EXPECT_THAT(rejection("{" + unusable + "," + unusable + "}", 0), HasSubstr("occurs twice"));
}

TEST(Safetensors, OnlySpacesFollowTheObject) {
  EXPECT_EQ(rejection("{}      ", 0), "");
  for (const char* header : {"{}\n", "{}\t", "{}x", "{}{}", "{} {}", " {}", "{}}", "{", "}", "[]",
                             "{\"__metadata__\":{}", "{},{}"}) {
    EXPECT_NE(rejection(header, 0), "") << header;
  }
}

TEST(Safetensors, TextMustBeUtf8) {
  EXPECT_NE(rejection("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0), "");
  // A lone surrogate: legal escape syntax, but no character.
  EXPECT_NE(rejection(R"({"\udc00":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0), "");
  EXPECT_NE(rejection(R"({"\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0), "");
  EXPECT_NE(rejection(R"({"__metadata__":{"a":"\udc00"}})", 0), "");
}

TEST(Safetensors, NamesAndMetadataAreBounded) {
  const auto named = [](size_t n) {
    return "{\"" + std::string(n, 'n') + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})";
  };
  EXPECT_EQ(rejection(named(512), 0), "");
  EXPECT_THAT(rejection(named(513), 0), HasSubstr("513"));
  EXPECT_THAT(rejection(R"({"__metadata__":{"a":"1","a":"2"}})", 0), HasSubstr("twice"));
  EXPECT_THAT(rejection(R"({"__metadata__":{},"__metadata__":{}})", 0), HasSubstr("two"));
  EXPECT_NE(rejection(R"({"__metadata__":{"a":{}}})", 0), "");
  EXPECT_NE(rejection(R"({"__metadata__":[]})", 0), "");
}

TEST(Safetensors, MessagesShowNoControlCharacters) {
  const std::string message =
      rejection(R"({"\u001b[31m":{"dtype":"U9","shape":[0],"data_offsets":[0,0]}})", 0);
  EXPECT_THAT(message, HasSubstr("\\x1b[31m"));
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Safetensors, TensorsOfUnusableDtypesAreListedByDtype) {
  const std::vector<std::byte> bytes =
      file_bytes(R"({"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]},)"
                 R"("b":{"dtype":"C64","shape":[1],"data_offsets":[3,11]}})",
                 11);
  const SafetensorsFile file = SafetensorsFile::parse(bytes, "x");
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_EQ(file.unsupported().at("a"), "F4");
  EXPECT_EQ(file.unsupported().at("b"), "C64");
  EXPECT_NE(rejection(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2), "");
}

/// Header order must not matter for the check that tensors tile the data section.
TEST(Safetensors, CoverageIsOrderIndependent) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::pair<size_t, size_t>> ranges;
    size_t end = 0;
    for (int i = 0; i < 6; ++i) {
      const size_t bytes = random() % 4;
      ranges.emplace_back(end, end + bytes);
      end += bytes;
    }
    std::shuffle(ranges.begin(), ranges.end(), random);
    const auto header = [&] {
      std::string text = "{";
      for (size_t i = 0; i < ranges.size(); ++i) {
        const auto [begin, stop] = ranges[i];
        if (i > 0) text += ",";
        text += fmt::format(R"("t{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", i,
                            stop - begin, begin, stop);
      }
      return text + "}";
    };
    EXPECT_EQ(rejection(header(), end), "") << header();
    EXPECT_NE(rejection(header(), end + 1), "") << header();
    // Shifting one non-empty tensor makes a hole or an overlap, or leaves the data section.
    auto& moved = ranges[random() % ranges.size()];
    if (moved.first == moved.second) continue;
    ++moved.first;
    ++moved.second;
    EXPECT_NE(rejection(header(), end), "") << header();
  }
}

TEST(Safetensors, EveryTruncationIsRejected) {
  const std::vector<std::byte> bytes =
      file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  SafetensorsFile::parse(bytes, "x");
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(SafetensorsFile::parse(std::span(bytes).first(size), "x"), LoadError) << size;
  }
}

TEST(Safetensors, WriterRoundTripsRandomFiles) {
  const TemporaryDirectory directory;
  std::mt19937 random(11);
  std::vector<DType> dtypes;
  for (const DTypeInfo& info : all_dtypes()) {
    if (!info.safetensors.empty()) dtypes.push_back(info.dtype);
  }
  for (int round = 0; round < 40; ++round) {
    std::vector<TensorPlan> plan(random() % 12);
    std::vector<std::vector<std::byte>> contents;
    for (size_t i = 0; i < plan.size(); ++i) {
      Shape shape(random() % 4);
      for (int64_t& dim : shape) dim = static_cast<int64_t>(random() % 5);
      plan[i] = {fmt::format("layers.{}.\"é\n", i), dtypes[random() % dtypes.size()], shape};
      const auto elements = static_cast<size_t>(num_elements(shape));
      contents.emplace_back(elements * dtype_info(plan[i].dtype).block_bytes);
      for (std::byte& b : contents.back()) b = static_cast<std::byte>(random());
    }
    const std::string path = directory.file("round.safetensors");
    SafetensorsWriter writer(path, plan, {{"format", "pt"}, {"q\"", "\\"}});
    for (const std::vector<std::byte>& bytes : contents) {
      const size_t half = bytes.size() / 2;
      writer.append(std::span(bytes).first(half));
      writer.append(std::span(bytes).subspan(half));
    }
    writer.finish();
    const SafetensorsFile file = SafetensorsFile::open(path);
    EXPECT_EQ(file.metadata().at("q\""), "\\");
    ASSERT_EQ(file.tensors().size(), plan.size());
    for (size_t i = 0; i < plan.size(); ++i) {
      const TensorView& view = file.tensors()[i];
      EXPECT_EQ(view.name, plan[i].name);
      EXPECT_EQ(view.dtype, plan[i].dtype);
      EXPECT_EQ(view.shape, plan[i].shape);
      EXPECT_TRUE(std::ranges::equal(view.data, contents[i]));
      EXPECT_EQ(file.find(plan[i].name), &view);
    }
  }
}

TEST(Safetensors, WriterLeavesNothingBehindWhenAbandoned) {
  const TemporaryDirectory directory;
  { SafetensorsWriter writer(directory.file("a.safetensors"), {{"a", DType::F32, {4}}}); }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

class ShardedSafetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    write_shard("one.safetensors", {"a", "both"});
    write_shard("two.safetensors", {"b", "both"});
  }
  void write_shard(const std::string& name, const std::vector<std::string>& tensors) {
    std::vector<TensorPlan> plan;
    for (const std::string& tensor : tensors) plan.push_back({tensor, DType::U8, {1}});
    SafetensorsWriter writer(directory_.file(name), plan);
    const std::byte mark = name == "one.safetensors" ? std::byte(1) : std::byte(2);
    for (size_t i = 0; i < plan.size(); ++i) writer.append(std::span(&mark, 1));
    writer.finish();
  }
  std::string write_index(const std::string& text) {
    std::ofstream(directory_.file("model.safetensors.index.json")) << text;
    return directory_.file("model.safetensors.index.json");
  }
  TemporaryDirectory directory_;
};

TEST_F(ShardedSafetensors, TakesEachTensorFromTheShardOfTheIndex) {
  const std::string index =
      write_index(R"({"metadata":{"total_size":-5},"weight_map":{"both":"two.safetensors",)"
                  R"("b":"two.safetensors","a":"one.safetensors"}})");
  const SafetensorsFile file = SafetensorsFile::open_sharded(index);
  EXPECT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.files().size(), 2U);
  EXPECT_EQ(file.find("both")->data[0], std::byte(2));
  EXPECT_EQ(file.find("a")->data[0], std::byte(1));
}

TEST_F(ShardedSafetensors, RejectsWhatTheShardsDoNotHold) {
  EXPECT_THROW(
      SafetensorsFile::open_sharded(write_index(R"({"weight_map":{"a":"two.safetensors"}})")),
      LoadError);
  EXPECT_THROW(
      SafetensorsFile::open_sharded(write_index(R"({"weight_map":{"a":"three.safetensors"}})")),
      LoadError);
}

TEST(SafetensorsIndex, RejectsFileNamesThatLeaveTheDirectory) {
  const auto map = [](const std::string& file) {
    return parse_safetensors_index("{\"weight_map\":{\"a\":\"" + file + "\"}}", "i.json");
  };
  EXPECT_EQ(map("m-1.safetensors").at("a"), "m-1.safetensors");
  for (const char* bad :
       {"", ".", "..", "../m", "/m", "d/m", "d\\\\m", "m\\u0000", "m\\u001b[2J", "..m"}) {
    EXPECT_THROW(map(bad), LoadError) << bad;
  }
}

TEST(SafetensorsIndex, RejectsOtherJson) {
  for (const std::string text :
       {"", "{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":5}})",
        R"({"weight_map":{"a":"x","a":"y"}})", R"({"weight_map":{},"weight_map":{}})",
        R"({"weight_map":{}} {})", "{\"weight_map\":{\"\xff\":\"x\"}}"}) {
    EXPECT_THROW(parse_safetensors_index(text, "i.json"), LoadError) << text;
  }
  const std::string deep =
      "{\"weight_map\":{},\"x\":" + std::string(20000, '[') + std::string(20000, ']') + "}";
  EXPECT_THROW(parse_safetensors_index(deep, "i.json"), LoadError);
}

}  // namespace
}  // namespace lethe
