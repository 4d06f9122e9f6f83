// What the fused CPU kernels share: 16 floats at a time by the compiler's vector types, compiled once for AVX-512, once
// for AVX2 and once for any processor. Only for inclusion by sources of nn/.
#pragma once
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to inlined functions only
#endif

namespace readback::nn::simd {

inline constexpr int64_t kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

// Bodies are inlined into each of a kernel's compilations; READBACK_SIMD_CLONES goes before the function that is
// called.
#define READBACK_INLINE [[gnu::always_inline]] inline
// Clang, of which only sanitized builds are made, takes no vectors of 64 bytes across functions with other features.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define READBACK_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define READBACK_SIMD_CLONES
#endif

READBACK_INLINE Floats broadcast(float value) { return Floats{} + value; }

READBACK_INLINE Floats load(const float* from) {
  Floats v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

READBACK_INLINE Floats load(const c10::BFloat16* from) {
  Halves half;
  std::memcpy(&half, from, sizeof half);
  const Ints bits = __builtin_convertvector(half, Ints) << 16;
  Floats v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

READBACK_INLINE void store(float* to, const Floats& v) { std::memcpy(to, &v, sizeof v); }

READBACK_INLINE void store(c10::BFloat16* to, const Floats& v) {  // to the nearest, ties to even
  Ints bits;
  std::memcpy(&bits, &v, sizeof bits);
  bits += 0x7fff + ((bits >> 16) & 1);
  const Halves half = __builtin_convertvector(bits >> 16, Halves);
  std::memcpy(to, &half, sizeof half);
}

// 2^x within 2e-7 relative; 2^-126 for everything below and 2^127 for everything above what floats hold; NaN for NaN.
READBACK_INLINE Floats exp2(const Floats& x) {
  const Floats raised = x < -126.0f ? broadcast(-126.0f) : x;
  const Floats clamped = raised > 127.0f ? broadcast(127.0f) : raised;
  const Floats shifted = clamped + 12582912.0f;           // 1.5 · 2^23: the low bits now hold the nearest integer
  const Floats rest = clamped - (shifted - 12582912.0f);  // within ±1/2
  Floats p = broadcast(1.5403530e-4f);                    // Taylor series of e^(rest · ln 2)
  p = p * rest + 1.3333558e-3f;
  p = p * rest + 9.6181291e-3f;
  p = p * rest + 5.5504109e-2f;
  p = p * rest + 2.4022651e-1f;
  p = p * rest + 6.9314718e-1f;
  p = p * rest + 1.0f;
  Ints exponent, bits;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  std::memcpy(&bits, &p, sizeof bits);
  bits += exponent << 23;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

}  // namespace readback::nn::simd
