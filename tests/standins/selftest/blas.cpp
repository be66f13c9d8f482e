// blas.cpp: products against plain loops in f64, and the arguments that cuBLAS refuses.
#include <cmath>

#include "support.h"

namespace {

struct Blas : Device {
  void* handle = nullptr;
  Blas() { OK(cublasCreate_v2(&handle)); }
};

float* pointer(CUdeviceptr address) { return reinterpret_cast<float*>(address); }

struct Product {
  int ta, tb, m, n, k, lda, ldb, ldc;
  float alpha, beta;
};

// op(x)(i, j) of a column-major matrix.
template <class T>
double at(const std::vector<T>& x, int transposed, std::size_t ld, int i, int j) {
  return transposed ? x[static_cast<std::size_t>(j) + static_cast<std::size_t>(i) * ld]
                    : x[static_cast<std::size_t>(i) + static_cast<std::size_t>(j) * ld];
}

template <class T>
void check(const Product& p, const std::vector<T>& a, const std::vector<T>& b, const std::vector<T>& before,
           const std::vector<T>& after, double unit) {
  for (int j = 0; j < p.n; ++j) {
    for (int i = 0; i < p.ldc; ++i) {
      const std::size_t c = static_cast<std::size_t>(i) + static_cast<std::size_t>(j) * static_cast<std::size_t>(p.ldc);
      if (c >= before.size()) continue;
      if (i >= p.m) {
        EXPECT(after[c] == before[c]);
        continue;
      }
      double sum = 0, size = 0;
      for (int l = 0; l < p.k; ++l) {
        const double term = at(a, p.ta, static_cast<std::size_t>(p.lda), i, l) *
                            at(b, p.tb, static_cast<std::size_t>(p.ldb), l, j);
        sum += term;
        size += std::fabs(term);
      }
      double want = static_cast<double>(p.alpha) * sum;
      if (p.beta != 0) want += static_cast<double>(p.beta) * before[c];
      // Rounding of k products and sums, each of half a unit.
      EXPECT(std::fabs(after[c] - want) <= unit * (p.k + 4) * (std::fabs(p.alpha) * size + std::fabs(want)));
    }
  }
}

template <class T>
std::vector<T> random_values(std::size_t n, unsigned seed) {
  const std::vector<float> values = numbers(n, seed);
  return std::vector<T>(values.begin(), values.end());
}

std::size_t size_of(int ld, int columns) { return static_cast<std::size_t>(ld) * static_cast<std::size_t>(columns); }

void sgemm_of_odd_shapes() {
  Blas blas;
  for (int size : {1, 2, 3, 5, 16, 17, 31, 33, 67, 200, 301}) {
    for (int way = 0; way < 4; ++way) {
      Product p = {way & 1, way >> 1, size, size % 7 + 1, 2 * size + 1, 0, 0, size + way, way == 2 ? -1.5f : 1.0f,
                   way == 3 ? 0.5f : 0.0f};
      p.lda = (p.ta ? p.k : p.m) + way;
      p.ldb = (p.tb ? p.n : p.k) + 1;
      const auto a = random_values<float>(size_of(p.lda, p.ta ? p.m : p.k), 3);
      const auto b = random_values<float>(size_of(p.ldb, p.tb ? p.k : p.n), 5);
      auto before = random_values<float>(size_of(p.ldc, p.n), 7);
      // beta = 0 must not read C.
      if (p.beta == 0) {
        for (int j = 0; j < p.n; ++j) {
          for (int i = 0; i < p.m; ++i) before[size_of(p.ldc, j) + static_cast<std::size_t>(i)] = NAN;
        }
      }
      const CUdeviceptr da = on_device(a), db = on_device(b), dc = on_device(before);
      OK(cublasSgemm_v2(blas.handle, p.ta, p.tb, p.m, p.n, p.k, &p.alpha, pointer(da), p.lda, pointer(db), p.ldb,
                        &p.beta, pointer(dc), p.ldc));
      check(p, a, b, before, from_device<float>(dc, before.size()), 6e-8);
    }
  }
}

void dgemm_in_f64() {
  Blas blas;
  const Product p = {1, 0, 29, 31, 300, 301, 302, 30, 1, 1};
  const double alpha = p.alpha, beta = p.beta;
  const auto a = random_values<double>(size_of(p.lda, p.m), 3), b = random_values<double>(size_of(p.ldb, p.n), 5),
             before = random_values<double>(size_of(p.ldc, p.n), 7);
  const CUdeviceptr da = on_device(a), db = on_device(b), dc = on_device(before);
  OK(cublasDgemm_v2(blas.handle, 1, 0, p.m, p.n, p.k, &alpha, reinterpret_cast<double*>(da), p.lda,
                    reinterpret_cast<double*>(db), p.ldb, &beta, reinterpret_cast<double*>(dc), p.ldc));
  check(p, a, b, before, from_device<double>(dc, before.size()), 1.2e-16);
}

// Five products with one A for all (stride 0).
void batches_with_strides() {
  Blas blas;
  const Product p = {0, 1, 19, 23, 37, 20, 24, 21, 1, 0};
  const std::size_t n_b = size_of(p.ldb, p.k) + 3, n_c = size_of(p.ldc, p.n) + 5;
  const auto a = random_values<float>(size_of(p.lda, p.k), 3), b = random_values<float>(5 * n_b, 5),
             before = random_values<float>(5 * n_c, 7);
  const CUdeviceptr da = on_device(a), db = on_device(b), dc = on_device(before);
  OK(cublasSgemmStridedBatched(blas.handle, 0, 1, p.m, p.n, p.k, &p.alpha, pointer(da), p.lda, 0, pointer(db), p.ldb,
                               static_cast<long long>(n_b), &p.beta, pointer(dc), p.ldc, static_cast<long long>(n_c),
                               5));
  const auto after = from_device<float>(dc, before.size());
  for (std::size_t batch = 0; batch < 5; ++batch) {
    const auto part = [](const std::vector<float>& x, std::size_t i, std::size_t n) {
      return std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(i * n),
                                x.begin() + static_cast<std::ptrdiff_t>((i + 1) * n));
    };
    check(p, a, part(b, batch, n_b), part(before, batch, n_c), part(after, batch, n_c), 6e-8);
  }
}

// In TF32 1 + 2⁻¹² is 1, in f32 it is not.
void tf32_rounds_its_inputs() {
  Blas blas;
  const float alpha = 1, beta = 0, x = 1.0f + 1.0f / 4096;
  const CUdeviceptr a = on_device(std::vector<float>{x}), c = device_memory(4);
  for (int mode : {0, 3}) {
    OK(cublasSetMathMode(blas.handle, mode));
    const CUdeviceptr one = on_device(std::vector<float>{1.0f});
    OK(cublasSgemm_v2(blas.handle, 0, 0, 1, 1, 1, &alpha, pointer(a), 1, pointer(one), 1, &beta, pointer(c), 1));
    EXPECT(from_device<float>(c, 1)[0] == (mode == 3 ? 1.0f : x));
  }
}

int product_of_2x2(void* handle, CUdeviceptr a, CUdeviceptr c, int lda, int k, float beta = 0) {
  const float alpha = 1;
  return cublasSgemm_v2(handle, 0, 0, 2, 2, k, &alpha, pointer(a), lda, pointer(a), 2, &beta, pointer(c), 2);
}

void refuses_what_cublas_refuses() {
  Blas blas;
  const CUdeviceptr a = on_device(numbers(4)), c = device_memory(16);
  EXPECT(product_of_2x2(blas.handle, a, c, 1, 2) == 7);
  EXPECT(product_of_2x2(blas.handle, a, c, 2, -1) == 7);
  EXPECT(product_of_2x2(&blas, a, c, 2, 2) == 1);
  OK(product_of_2x2(blas.handle, a, c, 2, 2));
  OK(cublasDestroy_v2(blas.handle));
  EXPECT(product_of_2x2(blas.handle, a, c, 2, 2) == 1);
}
void wrong_gemm_too_small() {
  Blas blas;
  product_of_2x2(blas.handle, on_device(numbers(3)), device_memory(16), 2, 2);
}
void wrong_gemm_unwritten() {
  Blas blas;
  product_of_2x2(blas.handle, device_memory(16), device_memory(16), 2, 2);
}
void wrong_gemm_unwritten_c() {
  Blas blas;
  product_of_2x2(blas.handle, on_device(numbers(4)), device_memory(16), 2, 2, 1);
}
void wrong_gemm_in_place() {
  Blas blas;
  const CUdeviceptr a = on_device(numbers(4));
  product_of_2x2(blas.handle, a, a, 2, 2);
}
void wrong_batches_in_each_other() {
  Blas blas;
  const float alpha = 1, beta = 0;
  const CUdeviceptr a = on_device(numbers(4)), c = device_memory(32);
  cublasSgemmStridedBatched(blas.handle, 0, 0, 2, 2, 2, &alpha, pointer(a), 2, 0, pointer(a), 2, 0, &beta, pointer(c), 2,
                            2, 2);
}
void wrong_gemm_out_of_order() {
  Blas blas;
  const std::vector<float> x = numbers(4);
  const CUdeviceptr a = on_device(x), c = device_memory(16);
  void* stream = new_stream();
  OK(cublasSetStream_v2(blas.handle, stream));
  OK(cuMemcpyHtoDAsync_v2(a, x.data(), 16, new_stream()));
  product_of_2x2(blas.handle, a, c, 2, 2);
}

}  // namespace

const std::vector<Case> blas_cases = {
    {"sgemm_of_odd_shapes", sgemm_of_odd_shapes},
    {"dgemm_in_f64", dgemm_in_f64},
    {"batches_with_strides", batches_with_strides},
    {"tf32_rounds_its_inputs", tf32_rounds_its_inputs},
    {"refuses_what_cublas_refuses", refuses_what_cublas_refuses},
    {"wrong_gemm_too_small", wrong_gemm_too_small},
    {"wrong_gemm_unwritten", wrong_gemm_unwritten},
    {"wrong_gemm_unwritten_c", wrong_gemm_unwritten_c},
    {"wrong_gemm_in_place", wrong_gemm_in_place},
    {"wrong_batches_in_each_other", wrong_batches_in_each_other},
    {"wrong_gemm_out_of_order", wrong_gemm_out_of_order},
};
