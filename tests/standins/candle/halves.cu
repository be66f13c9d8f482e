// halves.cu: in place of candle's two kernels that make f32 of bf16 and of f16, of arrays without gaps.
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>

static inline float of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float of_bf16(std::uint16_t bits) { return of_bits(std::uint32_t(bits) << 16); }

static inline float of_f16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t(bits >> 15) << 31, mantissa = bits & 0x3ff;
  const int exponent = bits >> 10 & 0x1f;
  if (exponent == 31) return of_bits(sign | 0x7f800000 | mantissa << 13);
  const float size = exponent == 0 ? std::ldexp(float(mantissa), -24) : std::ldexp(float(mantissa | 0x400), exponent - 25);
  return sign ? -size : size;
}

extern "C" __global__ void cast_bf16_f32(const size_t n, const size_t, const size_t *info, const std::uint16_t *from,
                                         float *to) {
  assert(info == nullptr);
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += size_t(blockDim.x) * gridDim.x) to[i] = of_bf16(from[i]);
}

extern "C" __global__ void cast_f16_f32(const size_t n, const size_t, const size_t *info, const std::uint16_t *from,
                                        float *to) {
  assert(info == nullptr);
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += size_t(blockDim.x) * gridDim.x) to[i] = of_f16(from[i]);
}
