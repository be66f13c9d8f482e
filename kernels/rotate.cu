// rotate.cu: a tile's statistics, centred and gathered as the rotation into components reads them.
//   in    xty (n_folds, n_columns, width) f32, or rows (n_train, width) f32      out   (n, width) f32 row-major
//         means (width) f64: what is taken off BOLD
//   grid  (⌈width/128⌉, n rows of the output up to 65535, then strided)  block  128  smem  0   regs  kernels/README.md
//   work  a few flops on 8 to 16 bytes a value; bound by memory
//   owns  a thread owns one voxel of a row; rows are independent
//   same  backend/cpu/rotate.rs and stacked.rs    tried  nothing yet: no card was at hand
#include "common.cuh"

// XᵀY over all folds, added in the order of the folds. columns (n_coefs): a coefficient's column in the space.
extern "C" __global__ void total_xty_f32(const float* __restrict__ xty, const unsigned long long* __restrict__ columns,
                                         float* __restrict__ total, size_t n_folds, size_t n_columns, size_t n_coefs,
                                         size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  for (size_t i = blockIdx.y; i < n_coefs; i += gridDim.y) {
    const size_t column = columns[i];
    float sum = xty[column * width + v];
    for (size_t k = 1; k < n_folds; ++k) sum += xty[(k * n_columns + column) * width + v];
    total[i * width + v] = sum;
  }
}

// XᵀY of the training and of the validation rows of one fold, centred by their own means of BOLD.
// xty: this fold's (n_columns, width). val_sums, x_means (n_coefs) f64. train, val (n_coefs, width).
extern "C" __global__ void center_xty_f32(const float* __restrict__ xty, const unsigned long long* __restrict__ columns,
                                          const float* __restrict__ total, const double* __restrict__ val_sums,
                                          const double* __restrict__ x_means, const double* __restrict__ train_means,
                                          const double* __restrict__ val_means, float* __restrict__ train,
                                          float* __restrict__ val, double n_all, size_t n_coefs, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  const double train_mean = train_means[v], val_mean = val_means[v];
  for (size_t i = blockIdx.y; i < n_coefs; i += gridDim.y) {
    const float own = xty[columns[i] * width + v];
    const double val_sum = val_sums[i];
    const double train_sum = x_means[i] * n_all - val_sum;
    train[i * width + v] = total[i * width + v] - own - static_cast<float>(train_sum * train_mean);
    val[i * width + v] = own - static_cast<float>(val_sum * val_mean);
  }
}

// Centres the XᵀY of all rows in place: total − n_all · x_mean · mean.
extern "C" __global__ void center_total_f32(float* __restrict__ total, const double* __restrict__ x_means,
                                            const double* __restrict__ means, double n_all, size_t n_coefs,
                                            size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  const double mean = means[v];
  for (size_t i = blockIdx.y; i < n_coefs; i += gridDim.y) {
    total[i * width + v] -= static_cast<float>(n_all * x_means[i] * mean);
  }
}

// Some rows of BOLD, gathered and centred: out[i] = rows[index[i]] − mean. The mean is rounded first, as on
// the CPU.
extern "C" __global__ void center_rows_f32(const float* __restrict__ rows, const unsigned long long* __restrict__ index,
                                           const double* __restrict__ means, float* __restrict__ out, size_t n,
                                           size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  const float mean = static_cast<float>(means[v]);
  for (size_t i = blockIdx.y; i < n; i += gridDim.y) out[i * width + v] = rows[index[i] * width + v] - mean;
}

// Stacked statistics: out[i] is row source[i] of xty (n_folds · n_columns rows), or for source[i] = −1 − k the
// first row of fold k, √n_k · (mean of BOLD over the fold − what is taken off).
extern "C" __global__ void stack_rows_f32(const float* __restrict__ xty, const double* __restrict__ sums,
                                          const double* __restrict__ fold_rows, const double* __restrict__ taken_off,
                                          const long long* __restrict__ source, float* __restrict__ out, size_t n,
                                          size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  for (size_t i = blockIdx.y; i < n; i += gridDim.y) {
    const long long from = source[i];
    if (from >= 0) {
      out[i * width + v] = xty[static_cast<size_t>(from) * width + v];
    } else {
      const size_t k = static_cast<size_t>(-1 - from);
      const double rows = fold_rows[k];
      out[i * width + v] = static_cast<float>(sqrt(rows) * (sums[k * width + v] / rows - taken_off[v]));
    }
  }
}
