// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace readback {

// One block of the generator: ten rounds on a 128-bit counter under a 64-bit key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// An independent stream for each (seed, name, index): a sample's numbers depend on neither its neighbours,
// the batch size, the order of work, nor a resume. Equal on every platform.
class Random {
 public:
  Random(uint64_t seed, std::string_view name, uint64_t index = 0);

  uint32_t next();                    // uniform over all 32-bit values
  uint64_t next64();
  double uniform();                   // [0, 1) with 53 bits
  int64_t below(int64_t n);           // uniform over 0 … n-1, unbiased; n >= 1
  double normal();                    // standard normal (Box-Muller)
  void fill_normal(std::span<float> values);

  // Position in the stream, for exact resumes.
  uint64_t position() const { return position_; }
  void seek(uint64_t position);

 private:
  void refill();
  std::array<uint32_t, 2> key_{};
  std::array<uint32_t, 2> stream_{};  // upper half of the counter
  uint64_t position_ = 0;             // 32-bit words taken so far
  std::array<uint32_t, 4> block_{};
};

// A 64-bit seed derived from (seed, name, index): what `readback generate` prints for a picture.
uint64_t derive_seed(uint64_t seed, std::string_view name, uint64_t index = 0);

// FNV-1a, 64 bit: names of streams and digests of small strings.
uint64_t fnv1a(std::string_view bytes);

}  // namespace readback
