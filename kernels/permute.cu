// permute.cu: how often blocks of predicted rows in another order correlate at least as well as in their own.
//   in    pred, bold (n_rows, width) f32 row-major          out   counts (width) u32
//         order (n_perms, n_blocks) u32: permutations of blocks of block_rows rows (the last may be shorter)
//   grid  ⌈width/128⌉  block  128  smem  0   regs  kernels/README.md
//   work  2 f64 flops on 8 bytes a row, voxel and permutation, less what the second-level cache holds;
//         bound by memory
//   owns  a thread owns one voxel
//   same  r keeps its order under Σpy alone: Σp, Σp², Σy, Σy² do not change with the order of rows. The blocks,
//         in their new order, stand one behind the other; f64 sums over rows in time order, so that the
//         unchanged order gives the observed sum, bit for bit, and counts
//   tried nothing yet: no card was at hand
#include "common.cuh"

extern "C" __global__ void permute_blocks_f64(const float* __restrict__ pred, const float* __restrict__ bold,
                                              const unsigned int* __restrict__ order, unsigned int* __restrict__ counts,
                                              size_t n_perms, size_t n_blocks, size_t block_rows, size_t n_rows,
                                              size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double observed = 0.0;
  for (size_t t = 0; t < n_rows; ++t) observed += static_cast<double>(pred[t * width + v]) * bold[t * width + v];
  unsigned int count = 0;
  for (size_t p = 0; p < n_perms; ++p) {
    double sum = 0.0;
    size_t t = 0;
    for (size_t b = 0; b < n_blocks; ++b) {
      const size_t begin = static_cast<size_t>(order[p * n_blocks + b]) * block_rows;
      const size_t end = begin + block_rows < n_rows ? begin + block_rows : n_rows;
      for (size_t from = begin; from < end; ++from, ++t) {
        sum += static_cast<double>(pred[from * width + v]) * bold[t * width + v];
      }
    }
    count += sum >= observed ? 1u : 0u;
  }
  counts[v] = count;
}
