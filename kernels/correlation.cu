// correlation.cu: Pearson r of predicted and measured BOLD, within each test block and over all of them.
//   in    pred, bold (n_rows, width) f32 row-major, both near zero mean
//   out   block_r (width) f32; totals (5, width) f64: Σp, Σp², Σy, Σy², Σpy over all blocks so far
//   grid  (⌈width/128⌉, n_chunks) for the sums, ⌈width/128⌉ after  block  128  smem  0   regs  kernels/README.md
//   work  8 f64 flops on 8 bytes a value, 1 flop/byte; bound by memory
//   owns  a thread owns one voxel of one chunk of rows; chunks are added in their order
//   same  backend/cpu/correlation.rs, stats.rs: pearson_from_sums    tried  nothing yet: no card was at hand
#include "common.cuh"

__device__ __forceinline__ double pearson_from_sums(double n, const double* s) {
  if (n < 2.0) return F64_NAN;
  const double var_p = s[1] - s[0] * s[0] / n;
  const double var_y = s[3] - s[2] * s[2] / n;
  // What is left of a constant after rounding: n roundings of the squared mean.
  if (var_p <= n * F64_EPSILON * s[1] || var_y <= n * F64_EPSILON * s[3]) return F64_NAN;
  const double r = (s[4] - s[0] * s[2] / n) / sqrt(var_p * var_y);
  return r > 1.0 ? 1.0 : r < -1.0 ? -1.0 : r;  // NaN stays NaN
}

// part (n_chunks, 5, width) f64.
extern "C" __global__ void pearson_sums_f64(const float* __restrict__ pred, const float* __restrict__ bold,
                                            double* __restrict__ part, size_t n_rows, size_t width,
                                            size_t chunk_rows) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  const size_t chunk = blockIdx.y, begin = chunk * chunk_rows;
  const size_t end = begin + chunk_rows < n_rows ? begin + chunk_rows : n_rows;
  double s[5] = {0.0, 0.0, 0.0, 0.0, 0.0};
  for (size_t t = begin; t < end; ++t) {
    const double p = pred[t * width + v], y = bold[t * width + v];
    s[0] += p;
    s[1] += p * p;
    s[2] += y;
    s[3] += y * y;
    s[4] += p * y;
  }
  for (int i = 0; i < 5; ++i) part[(chunk * 5 + i) * width + v] = s[i];
}

// r within one block, and the block's sums added to the totals; NaN for a voxel that is dead or whose test
// rows of this block hold a NaN or an infinity (flags of the training rows, part_flags of this block's chunks).
extern "C" __global__ void pearson_block_f32(const double* __restrict__ part, const unsigned char* __restrict__ flags,
                                             const unsigned char* __restrict__ part_flags, float* __restrict__ block_r,
                                             double* __restrict__ totals, size_t n_chunks, size_t n_flag_chunks,
                                             size_t n_rows, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  unsigned char seen = 0;
  for (size_t chunk = 0; chunk < n_flag_chunks; ++chunk) seen |= part_flags[chunk * width + v];
  const bool bad = is_dead(flags[v]) || (seen & VOXEL_NOT_FINITE) != 0;
  double s[5] = {0.0, 0.0, 0.0, 0.0, 0.0};
  for (size_t chunk = 0; chunk < n_chunks; ++chunk) {
    for (int i = 0; i < 5; ++i) s[i] += part[(chunk * 5 + i) * width + v];
  }
  block_r[v] = bad ? F32_NAN : static_cast<float>(pearson_from_sums(static_cast<double>(n_rows), s));
  for (int i = 0; i < 5; ++i) totals[i * width + v] += bad ? F64_NAN : s[i];
}

// r over all test rows.
extern "C" __global__ void pearson_total_f32(const double* __restrict__ totals, float* __restrict__ r, double n_total,
                                             size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double s[5];
  for (int i = 0; i < 5; ++i) s[i] = totals[i * width + v];
  r[v] = static_cast<float>(pearson_from_sums(n_total, s));
}
