// gemm.h: C = alpha op(A) op(B) + beta C, column-major, on the CPU.
#pragma once
#include <cstddef>

template <class T>
struct Gemm {
  bool transpose_a, transpose_b;
  std::size_t m, n, k;
  T alpha;
  const T* a;
  std::size_t lda;
  const T* b;
  std::size_t ldb;
  // 0: C is not read.
  T beta;
  T* c;
  std::size_t ldc;
  // Inputs rounded to the 10 bits of TF32.
  bool tf32;
};

void gemm(const Gemm<float>& product);
void gemm(const Gemm<double>& product);
