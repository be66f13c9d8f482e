// voxels.cu: BOLD as it arrives: bad values masked, shifted near zero, moments summed; one pass.
//   in    bold (n_rows, width) f32 row-major           out   y the same shape; per chunk of rows: sums, squares
//         shift, first (width) f32                           (n_chunks, 2, width) f64 and flags (n_chunks, width) u8
//   grid  (⌈width/128⌉, n_chunks)  block  128  smem  0   regs  kernels/README.md
//   work  4 flops on 8 bytes a value, 0.5 flop/byte; bound by memory
//   owns  a thread owns one voxel of one chunk; merge_voxels_f64 adds chunks in their order
//   same  backend/cpu/voxels.rs    tried  nothing yet: no card was at hand
#include "common.cuh"

// Means of the finite values of each column, in f64, rounded to f32: near the voxel's mean, so that f32
// sums lose nothing to a voxel's offset. Also keeps the first row. One thread a voxel, once a tile.
extern "C" __global__ void first_means_f32(const float* __restrict__ bold, float* __restrict__ shift,
                                           float* __restrict__ first, size_t n_rows, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double sum = 0.0, count = 0.0;
  for (size_t t = 0; t < n_rows; ++t) {
    const float y = bold[t * width + v];
    if (is_finite(y)) {
      sum += y;
      count += 1.0;
    }
  }
  shift[v] = count > 0.0 ? static_cast<float>(sum / count) : 0.0f;
  first[v] = bold[v];
}

extern "C" __global__ void add_voxels_f32(const float* __restrict__ bold, const float* __restrict__ shift,
                                          const float* __restrict__ first, float* __restrict__ y,
                                          double* __restrict__ part_sums, unsigned char* __restrict__ part_flags,
                                          size_t n_rows, size_t width, size_t chunk_rows) {
  const size_t v = voxel_of_thread();
  const size_t chunk = blockIdx.y;
  if (v >= width) return;
  const size_t begin = chunk * chunk_rows;
  const size_t end = begin + chunk_rows < n_rows ? begin + chunk_rows : n_rows;
  const float own_shift = shift[v], own_first = first[v];
  double sum = 0.0, square = 0.0;
  unsigned char flags = 0;
  for (size_t t = begin; t < end; ++t) {
    const float raw = bold[t * width + v];
    const bool finite = is_finite(raw);
    if (!finite) flags |= VOXEL_NOT_FINITE;
    if (raw != own_first) flags |= VOXEL_VARIES;
    const float value = finite ? raw - own_shift : 0.0f;
    y[t * width + v] = value;
    sum += value;
    square += static_cast<double>(value) * value;
  }
  part_sums[(chunk * 2) * width + v] = sum;
  part_sums[(chunk * 2 + 1) * width + v] = square;
  part_flags[chunk * width + v] = flags;
}

// Adds the chunks of one block of rows to its fold's sums, in the order of the chunks. One thread a voxel.
extern "C" __global__ void merge_voxels_f64(const double* __restrict__ part_sums,
                                            const unsigned char* __restrict__ part_flags, double* __restrict__ sums,
                                            double* __restrict__ squares, unsigned char* __restrict__ flags,
                                            size_t n_chunks, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double sum = sums[v], square = squares[v];
  unsigned char seen = flags[v];
  for (size_t chunk = 0; chunk < n_chunks; ++chunk) {
    sum += part_sums[(chunk * 2) * width + v];
    square += part_sums[(chunk * 2 + 1) * width + v];
    seen |= part_flags[chunk * width + v];
  }
  sums[v] = sum;
  squares[v] = square;
  flags[v] = seen;
}

// What a fold knows of a voxel. means ((n_folds + 1), width): what is taken off BOLD before a fit on all
// other folds, the last row before the refit: the training mean, or without an intercept minus the shift.
// val_means, val_square, delta (n_folds, width): validation mean, Σ(y − ȳ)² (0: not scored), validation
// minus training mean. All f64; backend/cpu/rotate.rs: fold_bold. One thread a voxel.
extern "C" __global__ void fold_moments_f64(const double* __restrict__ sums, const double* __restrict__ squares,
                                            const float* __restrict__ shift, const unsigned char* __restrict__ flags,
                                            const double* __restrict__ fold_rows, double* __restrict__ means,
                                            double* __restrict__ val_means, double* __restrict__ val_square,
                                            double* __restrict__ delta, size_t n_folds, int fit_intercept,
                                            size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double all = 0.0, n_all = 0.0;
  for (size_t k = 0; k < n_folds; ++k) {
    all += sums[k * width + v];
    n_all += fold_rows[k];
  }
  const double no_mean = -static_cast<double>(shift[v]);
  const bool dead = is_dead(flags[v]);
  for (size_t k = 0; k < n_folds; ++k) {
    const double sum = sums[k * width + v], square = squares[k * width + v], n = fold_rows[k];
    const double mean = fit_intercept ? (all - sum) / (n_all - n) : no_mean;
    const double variation = square - sum * sum / n;
    // What rounding leaves of a constant counts as none.
    const bool varies = variation > n * F64_EPSILON * square;
    means[k * width + v] = mean;
    val_means[k * width + v] = sum / n;
    val_square[k * width + v] = varies && !dead ? variation : 0.0;
    delta[k * width + v] = sum / n - mean;
  }
  means[n_folds * width + v] = fit_intercept ? all / n_all : no_mean;
}
