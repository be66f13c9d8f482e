// candle.h: what candle's kernel files see besides kernels/cuda_cpu.h when g++ compiles them for the CPU.
//
// Of their types f32, f64 and integers are kept: what needs half precision stands behind __CUDA_ARCH__.
#pragma once
#include <cassert>
#include <cstdint>
#include <limits>

#include "version.h"

// In function templates too, where a section of its own is not allowed; one block runs at a time.
#undef __shared__
#define __shared__ static

namespace cuda {
namespace std = ::std;
}
using std::signbit;

struct __half {
  std::uint16_t bits;
};
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline __half __hmax_nan(__half a, __half) { return a; }
inline __half __hmin_nan(__half a, __half) { return a; }

inline float normcdff(float x) { return 0.5f * std::erfc(x * -0.70710678f); }
inline double normcdf(double x) { return 0.5 * std::erfc(x * -0.7071067811865476); }

template <class A, class B>
typename std::common_type<A, B>::type min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B>
typename std::common_type<A, B>::type max(A a, B b) {
  return a < b ? b : a;
}
// Sums of floats in the order of threads: candle's, not ours.
inline float atomicAdd(float* address, float value) {
  const float before = *address;
  *address = before + value;
  return before;
}
