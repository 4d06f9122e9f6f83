#include "readback/base/random.h"

#include <ATen/core/PhiloxRNGEngine.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace readback {
namespace {

// The vectors of Random123's tests/kat_vectors for philox4x32, 10 rounds.
TEST(Philox, KnownAnswers) {
  using Block = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kAll = 0xffffffff;
  EXPECT_EQ(philox4x32({kAll, kAll, kAll, kAll}, {kAll, kAll}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// The block counter of a purpose's first number.
constexpr uint64_t first_block(Purpose purpose) { return static_cast<uint64_t>(purpose) << 56; }

TEST(Random, IsPhiloxKeyedBySeedWithTheStreamAboveTheCounter) {
  const uint64_t seed = 0x123456789abcdef0;
  at::philox_engine reference(seed, /*subsequence=*/fnv1a("pictures"), first_block(Purpose::kInitialNoise));
  Random random(seed, Purpose::kInitialNoise, "pictures");
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(random.next(), reference()) << i;
  EXPECT_EQ(random.position(), 1000u);
}

TEST(Random, StreamsOfSeedPurposeNameAndIndexDiffer) {
  std::set<uint64_t> first;
  for (uint64_t seed : {0, 1, 2})
    for (Purpose purpose : {Purpose::kCaption, Purpose::kInitialNoise})
      for (const char* name : {"", "a", "b", "ab"})
        for (uint64_t index = 0; index < 100; ++index) first.insert(Random(seed, purpose, name, index).next64());
  EXPECT_EQ(first.size(), 3u * 2u * 4u * 100u);
  EXPECT_EQ(Random(7, Purpose::kTest, "a", 3).next64(), Random(7, Purpose::kTest, "a", 3).next64());
}

// A caption's tokens and its picture's noise once came from the same words. 4096 words of each purpose of one
// candidate: among 12 · 4096 words of 32 bits, 0.28 pairs are equal by chance, and no place is equal twice.
TEST(Random, PurposesOfOneCandidateShareNoWord) {
  std::map<uint32_t, int> seen;
  int repeated = 0;
  for (int purpose = 1; purpose <= static_cast<int>(Purpose::kTest); ++purpose) {
    Random random(0, static_cast<Purpose>(purpose), "test-00003", 2);
    for (int i = 0; i < 4096; ++i) repeated += ++seen[random.next()] > 1;
  }
  EXPECT_LE(repeated, 3);
}

// With an even multiplier the upmost bit of an index did not: index and index + 2^63 were one stream. Words of 64 bits:
// that two of 66,560 are equal by chance has a probability of 1e-10.
TEST(Random, EveryBitOfAnIndexCounts) {
  std::set<uint64_t> seen;
  size_t taken = 0;
  for (int bit = -1; bit < 64; ++bit) {
    Random random(0, Purpose::kTest, "test-00003", bit < 0 ? 0 : uint64_t{1} << bit);
    for (int i = 0; i < 1024; ++i, ++taken) seen.insert(random.next64());
  }
  EXPECT_EQ(seen.size(), taken);
}

TEST(Random, SeekGoesAnywhereAndResumes) {
  std::vector<uint32_t> expected;
  for (Random random(5, Purpose::kTest, "x"); expected.size() < 64;) expected.push_back(random.next());
  for (uint64_t start = 0; start < 40; ++start) {
    Random random(5, Purpose::kTest, "x");
    random.seek(start);
    EXPECT_EQ(random.position(), start);
    for (uint64_t i = start; i < start + 9; ++i) ASSERT_EQ(random.next(), expected[i]) << "from " << start;
  }
  // Beyond 2^32 blocks: the counter's second word counts too.
  at::philox_engine reference(5, fnv1a("x"), first_block(Purpose::kTest) + (uint64_t{1} << 33) + 1);
  Random random(5, Purpose::kTest, "x");
  random.seek(4 * ((uint64_t{1} << 33) + 1));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(random.next(), reference());
}

TEST(Random, SeekBackAfterAnyKindOfNumber) {
  Random random(1, Purpose::kTest, "mixed");
  random.uniform();
  random.next();
  const uint64_t position = random.position();
  std::vector<float> first(7), again(7);
  random.fill_normal(first);
  const double after = random.normal();
  random.seek(position);
  random.fill_normal(again);
  EXPECT_EQ(first, again);
  EXPECT_EQ(random.normal(), after);
}

// Pearson's statistic of counts that should be equal.
double chi_square(const std::vector<int>& counts) {
  double total = 0, sum = 0;
  for (int count : counts) total += count;
  const double expected = total / static_cast<double>(counts.size());
  for (int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(Random, UniformFillsItsInterval) {
  Random random(11, Purpose::kTest, "uniform");
  std::vector<int> counts(100);
  for (int i = 0; i < 100'000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ++counts[static_cast<size_t>(value * 100)];
  }
  EXPECT_LT(chi_square(counts), 149.0);  // 99 degrees of freedom, p = 0.001
  EXPECT_GT(chi_square(counts), 57.0);   // p = 0.9997: not too even either
}

TEST(Random, BelowIsUnbiased) {
  Random random(12, Purpose::kTest, "below");
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts[static_cast<size_t>(random.below(7))];
  EXPECT_LT(chi_square(counts), 22.5);  // 6 degrees of freedom, p = 0.001
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0);
  // A plain remainder of 64 bits by 3 · 2^61 would make the first two thirds half as likely again as the last.
  std::vector<int> thirds(3);
  for (int i = 0; i < 30'000; ++i) ++thirds[static_cast<size_t>(random.below(3 * (int64_t{1} << 61)) >> 61)];
  EXPECT_LT(chi_square(thirds), 13.9);
}

// The largest distance between the sample's distribution and the standard normal one (Kolmogorov-Smirnov).
double distance_from_normal(std::vector<double> sample) {
  std::sort(sample.begin(), sample.end());
  const double n = static_cast<double>(sample.size());
  double largest = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    const double probability = 0.5 * std::erfc(-sample[i] / std::sqrt(2.0));
    largest = std::max({largest, std::abs(probability - static_cast<double>(i) / n),
                        std::abs(probability - static_cast<double>(i + 1) / n)});
  }
  return largest * std::sqrt(n);
}

TEST(Random, NormalIsNormal) {
  Random random(13, Purpose::kTest, "normal");
  std::vector<double> sample(20'000);
  for (double& value : sample) value = random.normal();
  EXPECT_LT(distance_from_normal(sample), 1.95);  // p = 0.001
  std::vector<float> filled(20'001);              // an odd number: the last pair is cut
  random.fill_normal(filled);
  EXPECT_LT(distance_from_normal({filled.begin(), filled.end()}), 1.95);
  double product = 0;  // the two numbers of a pair are independent
  for (size_t i = 0; i + 1 < filled.size(); i += 2) product += filled[i] * filled[i + 1];
  EXPECT_LT(std::abs(product) / std::sqrt(10'000.0), 3.3);
}

TEST(Random, DerivedSeedsDiffer) {
  std::set<uint64_t> seeds;
  for (uint64_t i = 0; i < 1000; ++i) seeds.insert(derive_seed(0, Purpose::kTest, "picture", i));
  seeds.insert(derive_seed(1, Purpose::kTest, "picture", 0));
  seeds.insert(derive_seed(0, Purpose::kTest, "caption", 0));
  seeds.insert(derive_seed(0, Purpose::kPictureSeed, "picture", 0));
  EXPECT_EQ(seeds.size(), 1003u);
}

// http://www.isthe.com/chongo/tech/comp/fnv/: the test vectors of FNV-1a, 64 bit.
TEST(Fnv1a, KnownAnswers) {
  EXPECT_EQ(fnv1a(""), 0xcbf29ce484222325u);
  EXPECT_EQ(fnv1a("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace readback
