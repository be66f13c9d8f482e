// path.cu: the ridge path of one fold: every alpha's validation score of every voxel, then the best alpha.
//   in    z, t (m, width) f32 row-major: components of the training and validation XᵀY
//         images (n_rows, n_slots, n_voxels) f32: F(uⱼ/w ∘ z), made by cuBLAS, of one voxel block and some rows of F
//   out   sums (n_alphas, width) f64 scores added up over folds; cv_scores (n_alphas, width) f32; best (width) i32
//   grid  at each kernel    block  128  smem  0 (shared weights come through the first-level cache)
//   regs  kernels/README.md
//   work  path_squares: 2 n_alphas n_slots flops on 4 n_slots bytes a row and voxel, n_alphas/2 flop/byte;
//         bound by compute from 20 alphas on, else by memory
//   owns  path_squares owns a chunk of rows, add_scores adds chunks in their order: no atomics
//   same  backend/cpu/path.rs, combine.rs, solve.rs; the algebra in backend/basis.rs
//   tried nothing yet: no card was at hand
#include "common.cuh"

// Rows that one thread squares before it writes a partial sum.
#define PATH_ROWS 16
// Alphas and voxels whose sums a thread keeps in registers.
#define PATH_ALPHAS 8
#define PATH_VOXELS 4
// Components added up in f32 before they go to an f64 sum.
#define PATH_DEPTH 64

// 1/‖norms ∘ z‖² of each voxel, 0 where z is 0: inverses (width) f64, norms (m) f64.
//   grid  (⌈width/128⌉)
extern "C" __global__ void voxel_inverses_f64(const float* __restrict__ z, const double* __restrict__ norms,
                                              double* __restrict__ inverses, size_t m, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double sum = 0.0;
  for (size_t i = 0; i < m; ++i) {
    const double part = norms[i] * z[i * width + v];
    sum += part * part;
  }
  inverses[v] = sum > 0.0 ? 1.0 / sum : 0.0;
}

// √Σz²·inverse of each component over each block of voxels, so that a voxel counts whatever its amplitude: sizes
// (n_blocks, m) f64, inverses (width) f64. A warp sums one component of one block: lanes take every 32nd voxel,
// then a tree of fixed order.
//   grid  (⌈m/4⌉, n_blocks)
extern "C" __global__ void component_sizes_f64(const float* __restrict__ z, const double* __restrict__ inverses,
                                               double* __restrict__ sizes, size_t m, size_t width,
                                               size_t block_voxels) {
  const size_t i = static_cast<size_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (i >= m) return;  // whole warps
  const size_t begin = static_cast<size_t>(blockIdx.y) * block_voxels;
  const size_t end = begin + block_voxels < width ? begin + block_voxels : width;
  double sum = 0.0;
  for (size_t v = begin + threadIdx.x % 32; v < end; v += 32) {
    const double value = z[i * width + v];
    sum += value * value * inverses[v];
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) sizes[static_cast<size_t>(blockIdx.y) * m + i] = sqrt(sum);
}

// uⱼ/w ∘ z of one voxel block: out (n_entries, n_voxels), an entry is a component of a slot; entries of one
// group of components lie as (component, slot), so that they are one right factor of F.
//   grid  (⌈n_voxels/128⌉, n_entries up to 65535, then strided)
extern "C" __global__ void scale_slots_f32(const float* __restrict__ z, const float* __restrict__ scales,
                                           const unsigned int* __restrict__ components, float* __restrict__ out,
                                           size_t n_entries, size_t first_voxel, size_t n_voxels, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= n_voxels) return;
  for (size_t e = blockIdx.y; e < n_entries; e += gridDim.y) {
    out[e * n_voxels + v] = scales[e] * z[components[e] * width + first_voxel + v];
  }
}

// Σ over components of z t/(λ + a), and for r2 of δ z/(λ + a): numerators, offsets (n_alphas, width) f32.
// inverses, shifted (n_alphas, m) f32; shifted null without r2, then offsets is not written.
//   grid  (⌈width/128⌉, ⌈n_alphas/8⌉)
extern "C" __global__ void path_numerators_f32(const float* __restrict__ z, const float* __restrict__ t,
                                               const float* __restrict__ inverses, const float* __restrict__ shifted,
                                               float* __restrict__ numerators, float* __restrict__ offsets,
                                               size_t n_alphas, size_t m, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  const size_t first = static_cast<size_t>(blockIdx.y) * PATH_ALPHAS;
  double sums[PATH_ALPHAS] = {0}, moved[PATH_ALPHAS] = {0};
  for (size_t begin = 0; begin < m; begin += PATH_DEPTH) {
    const size_t end = begin + PATH_DEPTH < m ? begin + PATH_DEPTH : m;
    float part[PATH_ALPHAS] = {0}, part_moved[PATH_ALPHAS] = {0};
    for (size_t i = begin; i < end; ++i) {
      const float own = z[i * width + v];
      const float product = own * t[i * width + v];
#pragma unroll
      for (int j = 0; j < PATH_ALPHAS; ++j) {
        if (first + j >= n_alphas) break;
        part[j] += inverses[(first + j) * m + i] * product;
        if (shifted) part_moved[j] += shifted[(first + j) * m + i] * own;
      }
    }
#pragma unroll
    for (int j = 0; j < PATH_ALPHAS; ++j) {
      sums[j] += part[j];
      moved[j] += part_moved[j];
    }
  }
#pragma unroll
  for (int j = 0; j < PATH_ALPHAS; ++j) {
    if (first + j >= n_alphas) break;
    numerators[(first + j) * width + v] = static_cast<float>(sums[j]);
    if (shifted) offsets[(first + j) * width + v] = static_cast<float>(moved[j]);
  }
}

// Combines the images of every row for 8 alphas in registers and adds up their squares over a chunk of rows:
// squares (n_chunks, n_alphas, n_voxels) f32. coefs (n_slots, n_padded) f32, alphas padded with zeros to whole
// eights. Where F is triangular a group of components ends at row group_ends[g] of F: below, its images are not
// there and its slots, group_slots[g] up to those of the next, are passed over. Groups in order, n_groups + 1 starts.
//   grid  (⌈n_voxels/512⌉, n_chunks, ⌈n_alphas/8⌉)
extern "C" __global__ void path_squares_f32(const float* __restrict__ images, const float* __restrict__ coefs,
                                            const unsigned int* __restrict__ group_ends,
                                            const unsigned int* __restrict__ group_slots,
                                            float* __restrict__ squares, size_t first_row, size_t n_rows,
                                            size_t n_groups, size_t n_slots, size_t n_padded, size_t n_alphas,
                                            size_t n_voxels) {
  const size_t corner = static_cast<size_t>(blockIdx.x) * blockDim.x * PATH_VOXELS + threadIdx.x;
  const size_t alpha = static_cast<size_t>(blockIdx.z) * PATH_ALPHAS;
  const size_t begin = static_cast<size_t>(blockIdx.y) * PATH_ROWS;
  const size_t end = begin + PATH_ROWS < n_rows ? begin + PATH_ROWS : n_rows;
  float sums[PATH_ALPHAS][PATH_VOXELS] = {{0}};
  size_t group = 0;
  for (size_t row = begin; row < end; ++row) {
    while (group + 1 < n_groups && group_ends[group] <= first_row + row) ++group;
    float combined[PATH_ALPHAS][PATH_VOXELS] = {{0}};
    for (size_t slot = group_slots[group]; slot < n_slots; ++slot) {
      float image[PATH_VOXELS];
#pragma unroll
      for (int i = 0; i < PATH_VOXELS; ++i) {
        const size_t v = corner + static_cast<size_t>(i) * blockDim.x;
        image[i] = v < n_voxels ? images[(row * n_slots + slot) * n_voxels + v] : 0.0f;
      }
#pragma unroll
      for (int j = 0; j < PATH_ALPHAS; ++j) {
        const float coef = coefs[slot * n_padded + alpha + j];
#pragma unroll
        for (int i = 0; i < PATH_VOXELS; ++i) combined[j][i] += coef * image[i];
      }
    }
#pragma unroll
    for (int j = 0; j < PATH_ALPHAS; ++j) {
#pragma unroll
      for (int i = 0; i < PATH_VOXELS; ++i) sums[j][i] += combined[j][i] * combined[j][i];
    }
  }
#pragma unroll
  for (int j = 0; j < PATH_ALPHAS; ++j) {
#pragma unroll
    for (int i = 0; i < PATH_VOXELS; ++i) {
      const size_t v = corner + static_cast<size_t>(i) * blockDim.x;
      if (alpha + j < n_alphas && v < n_voxels) {
        squares[(blockIdx.y * n_alphas + alpha + j) * n_voxels + v] = sums[j][i];
      }
    }
  }
}

// The same where every slot is an alpha's own path: its square.
//   grid  (⌈n_voxels/128⌉, n_chunks, n_alphas)
extern "C" __global__ void row_squares_f32(const float* __restrict__ images, float* __restrict__ squares,
                                           size_t n_rows, size_t n_alphas, size_t n_voxels) {
  const size_t v = voxel_of_thread();
  if (v >= n_voxels) return;
  const size_t begin = static_cast<size_t>(blockIdx.y) * PATH_ROWS;
  const size_t end = begin + PATH_ROWS < n_rows ? begin + PATH_ROWS : n_rows;
  float sum = 0.0f;
  for (size_t row = begin; row < end; ++row) {
    const float image = images[(row * n_alphas + blockIdx.z) * n_voxels + v];
    sum += image * image;
  }
  squares[(blockIdx.y * n_alphas + blockIdx.z) * n_voxels + v] = sum;
}

// Adds the chunks of a piece of F to the squared norms of the block: totals (n_alphas, n_voxels) f64.
//   grid  (⌈n_voxels/128⌉, n_alphas)
extern "C" __global__ void add_squares_f64(const float* __restrict__ squares, double* __restrict__ totals,
                                           size_t n_chunks, size_t n_alphas, size_t n_voxels) {
  const size_t v = voxel_of_thread();
  if (v >= n_voxels) return;
  double total = totals[blockIdx.y * n_voxels + v];
  for (size_t chunk = 0; chunk < n_chunks; ++chunk) total += squares[(chunk * n_alphas + blockIdx.y) * n_voxels + v];
  totals[blockIdx.y * n_voxels + v] = total;
}

// Adds one fold's scores of one voxel block to sums. r(a) = b·t/(‖Fb‖ √Σ(y−ȳ)²), R²(a) as in ARCHITECTURE.md.
// totals (n_alphas, n_voxels) f64, times norm_squares[a] the prediction's Σ(ŷ−mean)². is_r2: the scorer.
// A prediction without variance scores 0; a voxel whose validation rows do not vary (val_square 0) adds nothing.
//   grid  (⌈n_voxels/128⌉, n_alphas)
extern "C" __global__ void add_scores_f64(const float* __restrict__ numerators, const float* __restrict__ offsets,
                                          const double* __restrict__ totals, const double* __restrict__ norm_squares,
                                          const double* __restrict__ val_square, const double* __restrict__ delta,
                                          double* __restrict__ sums, double n_val, int is_r2, size_t first_voxel,
                                          size_t n_voxels, size_t width) {
  const size_t own = voxel_of_thread();
  if (own >= n_voxels) return;
  const size_t v = first_voxel + own, a = blockIdx.y;
  const double variation = val_square[v];
  const double predicted = norm_squares[a] * totals[a * n_voxels + own];
  const double numerator = numerators[a * width + v];
  double score = 0.0;
  if (!is_r2) {
    const double product = predicted * variation;
    if (product > 0.0) score = numerator / sqrt(product);
  } else if (variation > 0.0) {
    const double shift = delta[v] - static_cast<double>(offsets[a * width + v]);
    const double residual = variation - 2.0 * numerator + predicted + n_val * shift * shift;
    score = 1.0 - residual / variation;
  }
  sums[a * width + v] += score;
}

// Mean score over the folds in which a voxel is scored, and the best alpha: the largest score, equal ones the
// larger alpha; with a tolerance the smallest alpha within that share of the best. −1 and NaN for a dead voxel.
// stats.rs: best_index.
//   grid  ⌈width/128⌉
extern "C" __global__ void select_alpha_f32(const double* __restrict__ sums, const double* __restrict__ val_square,
                                            const unsigned char* __restrict__ flags, float* __restrict__ cv_scores,
                                            int* __restrict__ best, double tolerance, size_t n_alphas,
                                            size_t n_folds, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double n_scored = 0.0;
  for (size_t k = 0; k < n_folds; ++k) n_scored += val_square[k * width + v] > 0.0 ? 1.0 : 0.0;
  const bool dead = is_dead(flags[v]) || n_scored == 0.0;
  int index = -1;
  float top = 0.0f;
  for (size_t a = 0; a < n_alphas; ++a) {
    const float score = dead ? F32_NAN : static_cast<float>(sums[a * width + v] / n_scored);
    cv_scores[a * width + v] = score;
    if (score == score && (index < 0 || score >= top)) {
      index = static_cast<int>(a);
      top = score;
    }
  }
  if (index >= 0 && tolerance > 0.0) {
    const double enough = static_cast<double>(top) - tolerance * fabs(static_cast<double>(top));
    for (size_t a = 0; a < n_alphas; ++a) {
      if (static_cast<double>(cv_scores[a * width + v]) >= enough) {
        index = static_cast<int>(a);
        break;
      }
    }
  }
  best[v] = index;
}
