// gemm.cpp: blocks of A and B are packed into strips that a register tile runs along.
#include "gemm.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr std::size_t tile_n = 4, block_m = 192, block_k = 256;

// For any x86-64, and for those of the last ten years. Sanitizers and run-time choice of a function do not mix.
#if defined(__SANITIZE_ADDRESS__)
#define FAST
#else
#define FAST __attribute__((target_clones("arch=x86-64-v3", "default")))
#endif

// acc (tile_n × tile_m) += strips a (k × tile_m) and b (k × tile_n).
template <class T, std::size_t tile_m>
inline __attribute__((always_inline)) void run_strip(const T* a, const T* b, std::size_t k, T* out) {
  T sums[tile_n][tile_m] = {};
  for (std::size_t i = 0; i < k; ++i) {
    for (std::size_t column = 0; column < tile_n; ++column) {
      const T factor = b[i * tile_n + column];
      for (std::size_t row = 0; row < tile_m; ++row) sums[column][row] += a[i * tile_m + row] * factor;
    }
  }
  std::memcpy(out, sums, sizeof sums);
}

FAST void strip(const float* a, const float* b, std::size_t k, float* out) { run_strip<float, 16>(a, b, k, out); }
FAST void strip(const double* a, const double* b, std::size_t k, double* out) { run_strip<double, 8>(a, b, k, out); }

float rounded(float x, bool tf32) {
  if (!tf32) return x;
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  bits = (bits + 0x1000u) & ~0x1fffu;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}
double rounded(double x, bool) { return x; }

// Rows first..first+n of a column-major matrix, or of its transpose, into strips of `tile`, zeros behind them.
template <class T>
void pack(T* out, const T* x, std::size_t ld, bool along, std::size_t first, std::size_t n, std::size_t k0,
          std::size_t k, std::size_t tile, bool tf32) {
  for (std::size_t at = 0; at < n; at += tile) {
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t r = 0; r < tile; ++r) {
        const std::size_t row = first + at + r, depth = k0 + i;
        *out++ = at + r < n ? rounded(along ? x[row + depth * ld] : x[depth + row * ld], tf32) : T(0);
      }
    }
  }
}

template <class T>
void scale(const Gemm<T>& g) {
  for (std::size_t column = 0; column < g.n; ++column) {
    T* c = g.c + column * g.ldc;
    for (std::size_t row = 0; row < g.m; ++row) c[row] = g.beta == T(0) ? T(0) : g.beta * c[row];
  }
}

template <class T, std::size_t tile_m>
void multiply(const Gemm<T>& g) {
  scale(g);
  if (g.alpha == T(0) || g.k == 0) return;
  const std::size_t padded_n = (g.n + tile_n - 1) / tile_n * tile_n;
  std::vector<T> a(block_m * block_k), b(padded_n * block_k);
  T tile[tile_n * tile_m];
  for (std::size_t k0 = 0; k0 < g.k; k0 += block_k) {
    const std::size_t k = std::min(block_k, g.k - k0);
    pack(b.data(), g.b, g.ldb, g.transpose_b, 0, g.n, k0, k, tile_n, g.tf32);
    for (std::size_t m0 = 0; m0 < g.m; m0 += block_m) {
      const std::size_t m = std::min(block_m, g.m - m0);
      pack(a.data(), g.a, g.lda, !g.transpose_a, m0, m, k0, k, tile_m, g.tf32);
      for (std::size_t n0 = 0; n0 < g.n; n0 += tile_n) {
        for (std::size_t i0 = 0; i0 < m; i0 += tile_m) {
          strip(a.data() + i0 * k, b.data() + n0 * k, k, tile);
          for (std::size_t j = 0; j < std::min(tile_n, g.n - n0); ++j) {
            T* c = g.c + (n0 + j) * g.ldc + m0 + i0;
            for (std::size_t i = 0; i < std::min(tile_m, m - i0); ++i) c[i] += g.alpha * tile[j * tile_m + i];
          }
        }
      }
    }
  }
}

}  // namespace

void gemm(const Gemm<float>& product) { multiply<float, 16>(product); }
void gemm(const Gemm<double>& product) { multiply<double, 8>(product); }
