// blas.cpp: the stand-in libcublas. Column-major, errors and pointer checks as on a card.
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <set>
#include <vector>

#include "gemm.h"
#include "shared_calls.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_NOT_SUPPORTED = 15,
};

namespace {

enum { no_transpose = 0, transposed = 1, conjugated = 2 };
enum { tf32_math = 3, pedantic_math = 2, default_math = 0 };
enum { pointers_on_host = 0 };
enum { type_f32 = 0, type_f64 = 1 };
enum { compute_f32 = 68, compute_f32_pedantic = 69, compute_f64 = 70, compute_tf32 = 77 };

struct Handle {
  void* stream = nullptr;
  int math = default_math;
};
std::mutex handles_mutex;
std::set<Handle*> handles;

Handle* handle_of(void* handle) {
  std::lock_guard<std::mutex> lock(handles_mutex);
  auto found = handles.find(static_cast<Handle*>(handle));
  return found == handles.end() ? nullptr : *found;
}

std::size_t at_least_1(int x) { return x > 1 ? static_cast<std::size_t>(x) : 1; }

template <class T>
struct Call {
  const char* name;
  void* handle;
  int transpose_a, transpose_b, m, n, k;
  const T* alpha;
  const T* a;
  int lda;
  long long stride_a;
  const T* b;
  int ldb;
  long long stride_b;
  const T* beta;
  T* c;
  int ldc;
  long long stride_c;
  int n_batch;
  bool tf32;
};

bool is_transpose(int value) { return value == no_transpose || value == transposed || value == conjugated; }

template <class T>
bool is_valid(const Call<T>& call) {
  const std::size_t rows_a = at_least_1(call.transpose_a == no_transpose ? call.m : call.k);
  const std::size_t rows_b = at_least_1(call.transpose_b == no_transpose ? call.k : call.n);
  return is_transpose(call.transpose_a) && is_transpose(call.transpose_b) && call.m >= 0 && call.n >= 0 &&
         call.k >= 0 && call.n_batch >= 0 && call.alpha && call.beta && call.lda >= static_cast<int>(rows_a) &&
         call.ldb >= static_cast<int>(rows_b) && call.ldc >= static_cast<int>(at_least_1(call.m));
}

struct Range {
  const char *begin, *end;
};
template <class T>
Range range(const T* x, std::size_t rows, std::size_t columns, std::size_t ld) {
  return {reinterpret_cast<const char*>(x), reinterpret_cast<const char*>(x + (columns - 1) * ld + rows)};
}
bool meet(Range a, Range b) { return a.begin < b.end && b.begin < a.end; }

// One product of a batch: checks what it touches, then computes.
template <class T>
void run_one(const Call<T>& call, long long batch) {
  Gemm<T> g = {call.transpose_a != no_transpose,
               call.transpose_b != no_transpose,
               static_cast<std::size_t>(call.m),
               static_cast<std::size_t>(call.n),
               static_cast<std::size_t>(call.k),
               *call.alpha,
               call.a + batch * call.stride_a,
               static_cast<std::size_t>(call.lda),
               call.b + batch * call.stride_b,
               static_cast<std::size_t>(call.ldb),
               *call.beta,
               call.c + batch * call.stride_c,
               static_cast<std::size_t>(call.ldc),
               call.tf32};
  if (g.alpha != T(0) && g.k > 0) {
    const std::size_t rows_a = g.transpose_a ? g.k : g.m, columns_a = g.transpose_a ? g.m : g.k;
    const std::size_t rows_b = g.transpose_b ? g.n : g.k, columns_b = g.transpose_b ? g.k : g.n;
    standin_reads(g.a, rows_a * sizeof(T), columns_a, g.lda * sizeof(T), "A");
    standin_reads(g.b, rows_b * sizeof(T), columns_b, g.ldb * sizeof(T), "B");
    const Range c = range<T>(g.c, g.m, g.n, g.ldc);
    if (meet(c, range(g.a, rows_a, columns_a, g.lda)) || meet(c, range(g.b, rows_b, columns_b, g.ldb))) {
      standin_refuse("C lies in A or B");
    }
  }
  if (g.beta != T(0)) standin_reads(g.c, g.m * sizeof(T), g.n, g.ldc * sizeof(T), "C");
  standin_writes(g.c, g.m * sizeof(T), g.n, g.ldc * sizeof(T), "C");
  gemm(g);
}

template <class T>
cublasStatus_t run(Call<T> call) {
  Handle* handle = handle_of(call.handle);
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!is_valid(call)) return CUBLAS_STATUS_INVALID_VALUE;
  if (call.m == 0 || call.n == 0 || call.n_batch == 0) return CUBLAS_STATUS_SUCCESS;
  call.tf32 = sizeof(T) == 4 && (call.tf32 || handle->math == tf32_math);
  if (!standin_begin(call.name, handle->stream)) return CUBLAS_STATUS_EXECUTION_FAILED;
  const long long least_c = (static_cast<long long>(call.n) - 1) * call.ldc + call.m;
  if (call.n_batch > 1 && (call.stride_c < 0 ? -call.stride_c : call.stride_c) < least_c) {
    standin_refuse("results of a batch lie in each other");
  }
  for (long long batch = 0; batch < call.n_batch; ++batch) run_one(call, batch);
  standin_end();
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

EXPORT cublasStatus_t cublasCreate_v2(void** handle) {
  if (!standin_begin("cublasCreate_v2", nullptr)) return CUBLAS_STATUS_NOT_INITIALIZED;
  standin_end();
  std::lock_guard<std::mutex> lock(handles_mutex);
  *handle = *handles.insert(new Handle).first;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasDestroy_v2(void* handle) {
  std::lock_guard<std::mutex> lock(handles_mutex);
  if (handles.erase(static_cast<Handle*>(handle)) == 0) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete static_cast<Handle*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasGetVersion_v2(void*, int* version) {
  *version = 130000;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasSetStream_v2(void* handle, void* stream) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle_of(handle)->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasGetStream_v2(void* handle, void** stream) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  *stream = handle_of(handle)->stream;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasSetMathMode(void* handle, int mode) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (mode != default_math && mode != pedantic_math && mode != tf32_math) return CUBLAS_STATUS_INVALID_VALUE;
  handle_of(handle)->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasGetMathMode(void* handle, int* mode) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = handle_of(handle)->math;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasSetPointerMode_v2(void* handle, int mode) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  return mode == pointers_on_host ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

EXPORT cublasStatus_t cublasGetPointerMode_v2(void* handle, int* mode) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = pointers_on_host;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasSetWorkspace_v2(void* handle, void* workspace, std::size_t bytes) {
  if (!handle_of(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!standin_begin("cublasSetWorkspace_v2", handle_of(handle)->stream)) return CUBLAS_STATUS_EXECUTION_FAILED;
  standin_writes(workspace, bytes, bytes ? 1 : 0, 0, "workspace");
  standin_end();
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}
EXPORT const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

#define GEMM(name, T)                                                                                              \
  EXPORT cublasStatus_t name(void* handle, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda, \
                             const T* b, int ldb, const T* beta, T* c, int ldc) {                                  \
    return run<T>({#name, handle, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1, false});        \
  }
#define GEMM_BATCHED(name, T)                                                                                      \
  EXPORT cublasStatus_t name(void* handle, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda, \
                             long long sa, const T* b, int ldb, long long sb, const T* beta, T* c, int ldc,        \
                             long long sc, int n_batch) {                                                          \
    return run<T>({#name, handle, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, n_batch, false}); \
  }
GEMM(cublasSgemm_v2, float)
GEMM(cublasDgemm_v2, double)
GEMM_BATCHED(cublasSgemmStridedBatched, float)
GEMM_BATCHED(cublasDgemmStridedBatched, double)

EXPORT cublasStatus_t cublasGemmStridedBatchedEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha,
                                                 const void* a, int type_a, int lda, long long sa, const void* b,
                                                 int type_b, int ldb, long long sb, const void* beta, void* c,
                                                 int type_c, int ldc, long long sc, int n_batch, int compute, int) {
  if (type_a != type_b || type_b != type_c) return CUBLAS_STATUS_NOT_SUPPORTED;
  const char* name = "cublasGemmStridedBatchedEx";
  if (type_a == type_f64 && compute == compute_f64) {
    return run<double>({name, handle, ta, tb, m, n, k, static_cast<const double*>(alpha), static_cast<const double*>(a),
                        lda, sa, static_cast<const double*>(b), ldb, sb, static_cast<const double*>(beta),
                        static_cast<double*>(c), ldc, sc, n_batch, false});
  }
  if (type_a == type_f32 && (compute == compute_f32 || compute == compute_f32_pedantic || compute == compute_tf32)) {
    return run<float>({name, handle, ta, tb, m, n, k, static_cast<const float*>(alpha), static_cast<const float*>(a),
                       lda, sa, static_cast<const float*>(b), ldb, sb, static_cast<const float*>(beta),
                       static_cast<float*>(c), ldc, sc, n_batch, compute == compute_tf32});
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

EXPORT cublasStatus_t cublasGemmEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a,
                                   int type_a, int lda, const void* b, int type_b, int ldb, const void* beta, void* c,
                                   int type_c, int ldc, int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta, c,
                                    type_c, ldc, 0, 1, compute, algorithm);
}
