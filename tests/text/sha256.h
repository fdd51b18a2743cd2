#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace lethe::testing {

/// SHA-256 (FIPS 180-4) as lower-case hexadecimal.
inline std::string sha256_hex(std::string_view text) {
  const auto root_bits = [](double (*root)(double), int prime) {
    const double fraction = root(prime) - static_cast<int>(root(prime));
    return static_cast<uint32_t>(fraction * 4294967296.0);
  };
  std::array<uint32_t, 64> k;
  std::array<uint32_t, 8> h;
  for (int prime = 2, found = 0; found < 64; ++prime) {
    bool is_prime = true;
    for (int d = 2; d * d <= prime; ++d) is_prime = is_prime && prime % d != 0;
    if (!is_prime) continue;
    k[static_cast<size_t>(found)] = root_bits([](double x) { return __builtin_cbrt(x); }, prime);
    if (found < 8) {
      h[static_cast<size_t>(found)] = root_bits([](double x) { return __builtin_sqrt(x); }, prime);
    }
    ++found;
  }
  std::string data(text);
  data += '\x80';
  while (data.size() % 64 != 56) data += '\0';
  const uint64_t num_bits = uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) data += static_cast<char>(num_bits >> shift & 0xFF);

  for (size_t block = 0; block < data.size(); block += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 64; ++i) {
      w[i / 4] = w[i / 4] << 8 | static_cast<unsigned char>(data[block + i]);
    }
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    std::array<uint32_t, 8> s = h;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t big1 = std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25);
      const uint32_t big0 = std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22);
      const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
      const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
      const uint32_t one = s[7] + big1 + choice + k[i] + w[i];
      s = {one + big0 + majority, s[0], s[1], s[2], s[3] + one, s[4], s[5], s[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += s[i];
  }
  std::string hex;
  for (const uint32_t word : h) {
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  }
  return hex;
}

}  // namespace lethe::testing
