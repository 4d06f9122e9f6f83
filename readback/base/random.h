// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace readback {

// One block of the generator: ten rounds on a 128-bit counter under a 64-bit key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a stream of random numbers is for. Streams of different purposes never share a number, whatever their seeds,
// names and indices are. A published result depends on these values: add purposes at the end, change none.
enum class Purpose : uint8_t {
  kCaption = 1,     // the tokens of a sampled caption
  kInitialNoise,    // the latents that a picture starts from
  kSchedulerNoise,  // what an ancestral scheduler adds in each step
  kPictureSeed,     // the number that names a picture's noise
  kScene,           // a scene of the small world
  kWeights,         // a fresh parameter
  kTraining,        // a training step or a row of its batch: samples, augmentation, timesteps, noise
  kRollout,         // captions that are sampled while training
  kBootstrap,
  kPermutation,
  kRandomPairs,  // which sample a candidate is compared to for the random baseline
  kTest,
  kChoice,          // candidates that are chosen by chance
  kDenoisingError,  // the noise by which pictures and texts are compared
  kPriorNoise,      // what a prior starts from, then what each of its steps adds
  kUpscalingNoise,  // the same of super-resolution
};

// Raised whenever equal seeds give other numbers than before.
//   1  caption and picture of a candidate shared their numbers; a stream's number did not depend on its purpose
//   2  the purpose is part of Philox's counter
inline constexpr int kStreamsVersion = 2;

// An independent stream for each (seed, purpose, name, index): a sample's numbers depend on neither its neighbours,
// the batch size, the order of work, nor a resume. Equal on every platform.
class Random {
 public:
  Random(uint64_t seed, Purpose purpose, std::string_view name = "", uint64_t index = 0);

  uint32_t next();  // uniform over all 32-bit values
  uint64_t next64();
  double uniform();          // [0, 1) with 53 bits
  int64_t below(int64_t n);  // uniform over 0 … n-1, unbiased; n >= 1
  double normal();           // standard normal (Box-Muller)
  void fill_normal(std::span<float> values);

  // Position in the stream, for exact resumes; below 2^58.
  uint64_t position() const { return position_; }
  void seek(uint64_t position);

 private:
  void refill();
  std::array<uint32_t, 2> key_{};
  uint32_t purpose_ = 0;              // upper eight bits of the counter's second word
  std::array<uint32_t, 2> stream_{};  // upper half of the counter
  uint64_t position_ = 0;             // 32-bit words taken so far
  std::array<uint32_t, 4> block_{};
};

// A 64-bit seed derived from (seed, purpose, name, index).
uint64_t derive_seed(uint64_t seed, Purpose purpose, std::string_view name = "", uint64_t index = 0);

// FNV-1a, 64 bit: names of streams and digests of small strings.
uint64_t fnv1a(std::string_view bytes);

}  // namespace readback
