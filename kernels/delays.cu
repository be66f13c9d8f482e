// delays.cu: one block's un-delayed rows into the delayed design tile that the product reads.
//   in    x (n_rows, n_features) f32 row-major          out   tile (n_rows, n_delays · n_features) f32 row-major,
//         center, scale (n_features) f32 or null               delay-major columns; zeros beyond the block
//         delays (n_delays) i64 rows
//   grid  (⌈n_columns/128⌉, ⌈n_rows/8⌉)  block  128  smem  0   regs  kernels/README.md
//   work  2 flops on 8 bytes a cell; bound by memory, and small beside the product that reads it
//   owns  a thread owns one column of 8 rows
//   same  matrix/story_design.rs: x = (value − center) · scale inside the block, 0 outside (design/delays.rs)
//   tried nothing yet: no card was at hand
#include "common.cuh"

#define DELAY_ROWS 8

extern "C" __global__ void delay_f32(const float* __restrict__ x, const long long* __restrict__ delays,
                                     const float* __restrict__ center, const float* __restrict__ scale,
                                     float* __restrict__ tile, size_t n_rows, size_t n_features, size_t n_delays) {
  const size_t column = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const size_t n_columns = n_delays * n_features;
  if (column >= n_columns) return;
  const size_t f = column % n_features;
  const long long delay = delays[column / n_features];
  const float off = center ? center[f] : 0.0f;
  const float factor = scale ? scale[f] : 1.0f;
  const size_t begin = static_cast<size_t>(blockIdx.y) * DELAY_ROWS;
  for (size_t t = begin; t < n_rows && t < begin + DELAY_ROWS; ++t) {
    const long long source = static_cast<long long>(t) - delay;
    float value = 0.0f;
    if (source >= 0 && source < static_cast<long long>(n_rows)) {
      value = (x[static_cast<size_t>(source) * n_features + f] - off) * factor;
    }
    tile[t * n_columns + column] = value;
  }
}

// Sparse rows written out: out (n_rows, n_features) f32, zero before. indptr counts from the first entry of
// the whole matrix; entries of a row are at different columns, so nobody else writes a cell.
//   grid  n_rows  block  128
extern "C" __global__ void densify_f32(const unsigned long long* __restrict__ indptr,
                                       const unsigned int* __restrict__ indices, const float* __restrict__ values,
                                       float* __restrict__ out, size_t n_rows, size_t n_features) {
  const size_t row = blockIdx.x;
  if (row >= n_rows) return;
  const size_t end = indptr[row + 1];
  for (size_t e = indptr[row] + threadIdx.x; e < end; e += blockDim.x) {
    out[row * n_features + indices[e]] = values[e];
  }
}
