#include <gtest/gtest.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/json_py.h"
#include "base/utf8.h"

namespace lethe {
namespace {

/// Reads each line, writes it back; REFUSED where json.loads raises.
constexpr const char* kOracle = R"(
import json, re, sys
for line in open(sys.argv[1], encoding='utf-8', newline='\n'):
    try:
        out = json.dumps(json.loads(line.rstrip('\n')), ensure_ascii=False)
    except ValueError:
        out = 'REFUSED'
    out = re.sub('[\ud800-\udfff]', '\ufffd', out)
    sys.stdout.buffer.write((out + '\n').encode('utf-8'))
)";

/// Random JSON texts, valid ones and damaged ones.
class TextMaker {
 public:
  explicit TextMaker(uint64_t seed) : random_(seed) {}

  std::string text() {
    std::string out = value(4);
    if (below(3) == 0) damage(out);
    return out;
  }

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  std::string space() { return std::string(below(6) == 0 ? below(3) : 0, ' '); }

  std::string value(int depth) {
    switch (below(depth > 0 ? 9 : 6)) {
      case 0:
        return string();
      case 1:
        return integer();
      case 2:
        return real();
      case 3:
        return decimal();
      case 4: {
        static constexpr const char* kWords[] = {"null", "true", "false", "NaN", "-Infinity"};
        return kWords[below(5)];
      }
      case 5:
        return string();
      case 6:
        return list('[', ']', [&] { return value(depth - 1); });
      default:
        return list('{', '}', [&] { return key() + space() + ":" + space() + value(depth - 1); });
    }
  }

  template <typename Item>
  std::string list(char open, char close, Item item) {
    std::string out(1, open);
    for (size_t i = 0, n = below(5); i < n; ++i) {
      if (i > 0) out += space() + ",";
      out += space() + item();
    }
    return out + space() + close;
  }

  /// Few letters, so that keys repeat.
  std::string key() { return below(2) == 0 ? string() : fmt::format("\"{}\"", "abc"[below(3)]); }

  std::string integer() {
    std::string out = below(2) == 0 ? "-" : "";
    out += static_cast<char>('1' + below(9));
    for (size_t i = 0, n = below(30); i < n; ++i) out += static_cast<char>('0' + below(10));
    return below(8) == 0 ? "-0" : out;
  }

  std::string real() {
    const double x = std::bit_cast<double>(random_());
    return std::isfinite(x) ? fmt::format("{:.17e}", x) : "1e999";
  }

  std::string decimal() {
    static constexpr const char* kExponents[] = {"",    "e0",  "E+3",   "e-5",
                                                 "e15", "e16", "e-400", "e22"};
    return fmt::format("{}{}.{}{}", below(2) == 0 ? "-" : "", below(1000), below(100000),
                       kExponents[below(8)]);
  }

  std::string string() {
    std::string out = "\"";
    for (size_t i = 0, n = below(8); i < n; ++i) {
      static constexpr const char* kEscapes[] = {"\\n",     "\\\"",    "\\\\",           "\\/",
                                                 "\\u0007", "\\u2028", "\\ud83d\\ude00", "\\ud800"};
      switch (below(4)) {
        case 0:
          out += kEscapes[below(8)];
          break;
        case 1:
          out += static_cast<char>('a' + below(26));
          break;
        default:
          append_utf8(out, static_cast<char32_t>(0xA0 + below(0x10000)));
          break;
      }
    }
    return out + "\"";
  }

  void damage(std::string& text) {
    static constexpr std::string_view kBytes = "{}[]\",:0123456789.eE+-\\u tfn";
    const size_t at = below(text.size() + 1);
    // Only between whole characters, so that the file stays UTF-8.
    if (valid_utf8_prefix(text.substr(0, at)) != at) return;
    if (below(2) == 0 || at == text.size() || (text[at] & 0x80) != 0) {
      text.insert(at, 1, kBytes[below(kBytes.size())]);
    } else {
      text.erase(at, 1);
    }
  }

  std::mt19937_64 random_;
};

std::string ours(const std::string& text) {
  try {
    return dump_json(parse_json(text));
  } catch (const JsonError&) {
    return "REFUSED";
  }
}

TEST(JsonPython, AgreesOnRandomTexts) {
  if (std::system("python3 -c pass >/dev/null 2>&1") != 0) GTEST_SKIP() << "python3 is not here";
  const auto directory =
      std::filesystem::temp_directory_path() / fmt::format("lethe_json_{}", std::random_device{}());
  std::filesystem::create_directory(directory);
  const std::string script = directory / "oracle.py", input = directory / "in",
                    output = directory / "out";
  TextMaker maker(20261123);
  std::vector<std::string> texts(20'000);
  for (std::string& text : texts) text = maker.text();
  std::ofstream(script) << kOracle;
  {
    std::ofstream file(input);
    for (const std::string& text : texts) file << text << '\n';
  }
  const std::string command = fmt::format("python3 '{}' '{}' > '{}'", script, input, output);
  ASSERT_EQ(std::system(command.c_str()), 0);

  std::ifstream answers(output);
  size_t num_refused = 0;
  std::string expected;
  for (const std::string& text : texts) {
    ASSERT_TRUE(std::getline(answers, expected));
    if (expected == "REFUSED") ++num_refused;
    ASSERT_EQ(ours(text), expected) << text;
  }
  EXPECT_GT(num_refused, texts.size() / 20);
  EXPECT_LT(num_refused, texts.size() / 2);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace lethe
