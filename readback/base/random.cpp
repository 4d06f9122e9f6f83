#include "readback/base/random.h"

#include <cmath>
#include <numbers>

namespace readback {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

uint64_t fnv1a(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

uint64_t derive_seed(uint64_t seed, Purpose purpose, std::string_view name, uint64_t index) {
  return Random(seed, purpose, name, index).next64();
}

Random::Random(uint64_t seed, Purpose purpose, std::string_view name, uint64_t index)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      purpose_(static_cast<uint32_t>(purpose) << 24) {
  // The multiplier is odd: different indices of a name have different streams.
  const uint64_t stream = fnv1a(name) ^ (index * 0x9E3779B97F4A7C15);
  stream_ = {static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
}

void Random::refill() {
  const uint64_t block = position_ / 4;
  block_ = philox4x32(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32) | purpose_, stream_[0], stream_[1]}, key_);
}

void Random::seek(uint64_t position) {
  position_ = position;
  if (position_ % 4 != 0) refill();
}

uint32_t Random::next() {
  if (position_ % 4 == 0) refill();
  return block_[position_++ % 4];
}

uint64_t Random::next64() {
  const uint64_t low = next();
  return low | (uint64_t{next()} << 32);
}

double Random::uniform() { return static_cast<double>(next64() >> 11) * 0x1.0p-53; }

int64_t Random::below(int64_t n) {
  const uint64_t range = static_cast<uint64_t>(n);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % range;
  uint64_t value = next64();
  while (value >= limit) value = next64();
  return static_cast<int64_t>(value % range);
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

void Random::fill_normal(std::span<float> values) {
  for (size_t i = 0; i < values.size(); i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    const double angle = 2.0 * std::numbers::pi * uniform();
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace readback
