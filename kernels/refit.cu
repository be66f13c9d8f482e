// refit.cu: weights of all training rows at each voxel's own alpha.
//   in    z (m, width) f32 components of the centred XᵀY      out   z scaled in place; intercept (width) f32
//         best (width) i32, −1 for a dead voxel
//   grid  at each kernel  block  128  smem  0   regs  kernels/README.md
//   work  one f64 division on 8 bytes a value; bound by memory (by f64 on cards with few f64 units)
//   owns  a thread owns one voxel
//   same  backend/cpu/solve.rs: refit    tried  nothing yet: no card was at hand
#include "common.cuh"

// z/(λ + α of the voxel), 0 for a dead voxel.
//   grid  (⌈width/128⌉, m up to 65535, then strided)
extern "C" __global__ void shrink_f32(float* __restrict__ z, const double* __restrict__ eigvals,
                                      const double* __restrict__ alphas, const int* __restrict__ best, size_t m,
                                      size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  const int index = best[v];
  const double alpha = index < 0 ? 1.0 : alphas[index];
  const double live = index < 0 ? 0.0 : 1.0;
  for (size_t i = blockIdx.y; i < m; i += gridDim.y) {
    z[i * width + v] = static_cast<float>(live * static_cast<double>(z[i * width + v]) / (eigvals[i] + alpha));
  }
}

// ȳ − x̄·w in f64; coef (n_coefs, width) or null where the rows are centred already. 0 without an intercept and
// for a dead voxel. means (width): over all training rows, of shifted BOLD.
//   grid  ⌈width/128⌉
extern "C" __global__ void intercepts_f32(const float* __restrict__ coef, const double* __restrict__ x_means,
                                          const double* __restrict__ means, const float* __restrict__ shift,
                                          const int* __restrict__ best, float* __restrict__ intercept,
                                          int fit_intercept, size_t n_coefs, size_t width) {
  const size_t v = voxel_of_thread();
  if (v >= width) return;
  double offset = 0.0;
  if (coef) {
    for (size_t i = 0; i < n_coefs; ++i) offset += x_means[i] * static_cast<double>(coef[i * width + v]);
  }
  const bool fitted = fit_intercept && best[v] >= 0;
  intercept[v] = fitted ? static_cast<float>(static_cast<double>(shift[v]) + means[v] - offset) : 0.0f;
}
