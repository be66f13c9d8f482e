// cuda_cpu.h: what a kernel file sees when g++ compiles it for the CPU in place of nvcc.
//
// The kernels themselves include nothing of this: `scripts/build-standins` puts it in front of each file
// (g++ -include), and tests/standins/emulator.cpp runs the blocks. One block at a time; each of its threads is a
// fiber of its own, so barriers, shuffles and ballots stop a thread where the card would.
//   types      dim3, uint3, int2-4, uint2-4, float2-4, double2, with make_*
//   built in   threadIdx, blockIdx, blockDim, gridDim, warpSize
//   barriers   __syncthreads, __syncthreads_or, _and, _count, __syncwarp
//   warp       __shfl_sync, _up, _down, _xor, __ballot_sync, __any_sync, __all_sync
//   atomics    atomicAdd, Sub, Min, Max, And, Or, Xor, Exch, CAS on integers
//   memory     __shared__, SHARED_DYN, __constant__, __ldg, __threadfence, __threadfence_block
//   numbers    __fmaf_rn, __fma_rn, __f*_rn, __d*_rn, rsqrt, __popc, __clz, __ffs, bits of floats
#pragma once

#ifdef __CUDACC__
#define SHARED_DYN(type, name)                                   \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(dynamic_shared)
#else

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static const
// A section for each file: the emulator refills a file's shared memory before each block.
#define __shared__ static __attribute__((section(CUDA_CPU_SHARED)))
#define SHARED_DYN(type, name) type* name = reinterpret_cast<type*>(cuda_cpu::dynamic_shared)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define CUDA_CPU_VECTORS(type, name, two, four)                                      \
  struct alignas(two) name##2 {                                                      \
    type x, y;                                                                       \
  };                                                                                 \
  struct name##3 {                                                                   \
    type x, y, z;                                                                    \
  };                                                                                 \
  struct alignas(four) name##4 {                                                     \
    type x, y, z, w;                                                                 \
  };                                                                                 \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                   \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }        \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CUDA_CPU_VECTORS(float, float, 8, 16)
CUDA_CPU_VECTORS(int, int, 8, 16)
#undef CUDA_CPU_VECTORS
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline double2 make_double2(double x, double y) { return {x, y}; }

namespace cuda_cpu {

// Of the thread that runs. Constant while a thread lives, which also keeps the checks of loads away from them.
extern const uint3 thread_index __asm__("cuda_cpu_thread_index");
extern const uint3 block_index __asm__("cuda_cpu_block_index");
extern const uint3 block_size __asm__("cuda_cpu_block_size");
extern const uint3 grid_size __asm__("cuda_cpu_grid_size");
extern unsigned char* const dynamic_shared __asm__("cuda_cpu_dynamic_shared");

enum class Warp { sync, shuffle, ballot, any, all };

// Waits for the whole block. Returns how many threads came with `predicate`.
unsigned block_barrier(bool predicate, int line);
// Waits for the lanes of `mask`. Returns the value of lane `source`, or the ballot of `value != 0`.
std::uint64_t warp_exchange(Warp kind, unsigned mask, std::uint64_t value, unsigned source, int line);
unsigned lane();
// A read-modify-write of `size` bytes at `address` is about to happen.
void touch_atomic(const void* address, std::size_t size);

template <class T>
T shuffle(unsigned mask, T value, unsigned source, int line) {
  static_assert(std::is_arithmetic<T>::value && sizeof(T) <= 8, "shuffles carry numbers of up to 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_exchange(Warp::shuffle, mask, bits, source, line);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Other than integers: sums of floats would depend on the order of threads (see STYLE of kernels).
template <class T, class F>
__attribute__((no_sanitize("thread"))) T atomic(T* address, F change) {
  static_assert(std::is_integral<T>::value, "atomics are for integers: same input, same bits");
  touch_atomic(address, sizeof(T));
  const T before = *address;  // nothing comes between: the fibers of one OS thread take turns
  *address = change(before);
  return before;
}

}  // namespace cuda_cpu

#define threadIdx (cuda_cpu::thread_index)
#define blockIdx (cuda_cpu::block_index)
#define blockDim (cuda_cpu::block_size)
#define gridDim (cuda_cpu::grid_size)
constexpr int warpSize = 32;

inline void __syncthreads(int line = __builtin_LINE()) { cuda_cpu::block_barrier(false, line); }
inline int __syncthreads_count(int p, int line = __builtin_LINE()) {
  return static_cast<int>(cuda_cpu::block_barrier(p != 0, line));
}
inline int __syncthreads_or(int p, int line = __builtin_LINE()) {
  return cuda_cpu::block_barrier(p != 0, line) != 0;
}
inline int __syncthreads_and(int p, int line = __builtin_LINE()) {
  return cuda_cpu::block_barrier(p == 0, line) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  cuda_cpu::warp_exchange(cuda_cpu::Warp::sync, mask, 0, 0, line);
}
// Fences order nothing here: blocks run one after the other, and the race check asks for barriers.
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
  const unsigned lane = cuda_cpu::lane(), w = static_cast<unsigned>(width);
  return cuda_cpu::shuffle(mask, value, (lane & ~(w - 1)) + (static_cast<unsigned>(source) & (w - 1)), line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
  const unsigned lane = cuda_cpu::lane(), w = static_cast<unsigned>(width);
  return cuda_cpu::shuffle(mask, value, (lane & (w - 1)) + delta < w ? lane + delta : lane, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
  const unsigned lane = cuda_cpu::lane(), w = static_cast<unsigned>(width);
  return cuda_cpu::shuffle(mask, value, (lane & (w - 1)) >= delta ? lane - delta : lane, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, int line = __builtin_LINE()) {
  const unsigned lane = cuda_cpu::lane(), w = static_cast<unsigned>(width);
  const unsigned source = lane ^ static_cast<unsigned>(bits);
  // A lane of a later group keeps its value, one of an earlier group may be read.
  return cuda_cpu::shuffle(mask, value, source < (lane & ~(w - 1)) + w ? source : lane, line);
}
inline unsigned __ballot_sync(unsigned mask, int p, int line = __builtin_LINE()) {
  return static_cast<unsigned>(cuda_cpu::warp_exchange(cuda_cpu::Warp::ballot, mask, p != 0, 0, line));
}
inline int __any_sync(unsigned mask, int p, int line = __builtin_LINE()) {
  return cuda_cpu::warp_exchange(cuda_cpu::Warp::any, mask, p != 0, 0, line) != 0;
}
inline int __all_sync(unsigned mask, int p, int line = __builtin_LINE()) {
  return cuda_cpu::warp_exchange(cuda_cpu::Warp::all, mask, p == 0, 0, line) == 0;
}

#define CUDA_CPU_ATOMIC(name, expression)                                                   \
  template <class T>                                                                        \
  T name(T* address, typename std::common_type<T>::type value) {                            \
    return cuda_cpu::atomic(address, [value](T old) { return static_cast<T>(expression); }); \
  }
CUDA_CPU_ATOMIC(atomicAdd, old + value)
CUDA_CPU_ATOMIC(atomicSub, old - value)
CUDA_CPU_ATOMIC(atomicMin, value < old ? value : old)
CUDA_CPU_ATOMIC(atomicMax, old < value ? value : old)
CUDA_CPU_ATOMIC(atomicAnd, old & value)
CUDA_CPU_ATOMIC(atomicOr, old | value)
CUDA_CPU_ATOMIC(atomicXor, old ^ value)
CUDA_CPU_ATOMIC(atomicExch, value + 0 * old)
#undef CUDA_CPU_ATOMIC
template <class T>
T atomicCAS(T* address, typename std::common_type<T>::type expected, typename std::common_type<T>::type value) {
  return cuda_cpu::atomic(address, [=](T old) { return old == expected ? value : old; });
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double x) { return std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

template <class To, class From>
To cuda_cpu_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline int __float_as_int(float x) { return cuda_cpu_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_cpu_bits<unsigned>(x); }
inline float __int_as_float(int x) { return cuda_cpu_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return cuda_cpu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return cuda_cpu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return cuda_cpu_bits<double>(x); }

template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
using std::isfinite;
using std::isinf;
using std::isnan;

#endif  // __CUDACC__
