// emulator.cu: kernels that need each thing the emulator offers, and kernels that are wrong on purpose.
#include <stddef.h>

// Sum of a block's values by a tree in shared memory.
extern "C" __global__ void block_sum_f64(const float* __restrict__ x, double* __restrict__ sums, size_t n) {
  __shared__ double tree[256];
  const unsigned t = threadIdx.x;
  const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + t;
  tree[t] = i < n ? x[i] : 0.0;
  __syncthreads();
  for (unsigned step = blockDim.x / 2; step > 0; step /= 2) {
    if (t < step) tree[t] += tree[t + step];
    __syncthreads();
  }
  if (t == 0) sums[blockIdx.x] = tree[0];
}

// out[block] = value of each lane seen by its warp in several ways, by one thread of each lane.
extern "C" __global__ void warp_ways_i32(int* __restrict__ out) {
  const int lane = threadIdx.x % 32;
  int sum = lane;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  const int down = __shfl_down_sync(0xffffffffu, lane, 3);
  const int up = __shfl_up_sync(0xffffffffu, lane, 3, 8);
  const int third = __shfl_sync(0xffffffffu, lane, 3, 16);
  const unsigned even = __ballot_sync(0xffffffffu, lane % 2 == 0);
  const int any = __any_sync(0xffffffffu, lane == 31), all = __all_sync(0xffffffffu, lane < 31);
  int half = 0;
  if (lane < 16) half = __shfl_down_sync(0x0000ffffu, lane, 8, 16);
  int* mine = out + threadIdx.x * 8;
  mine[0] = sum;
  mine[1] = down;
  mine[2] = up;
  mine[3] = third;
  mine[4] = static_cast<int>(even);
  mine[5] = any;
  mine[6] = all;
  mine[7] = half;
}

// A tile turned over in dynamic shared memory; matrix (n_rows, n_columns) to (n_columns, n_rows).
extern "C" __global__ void transpose_f32(const float* __restrict__ x, float* __restrict__ out, int n_rows,
                                         int n_columns) {
  SHARED_DYN(float, tile);
  const int side = static_cast<int>(blockDim.x);
  const int column = static_cast<int>(blockIdx.x) * side + static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(blockIdx.y) * side + static_cast<int>(threadIdx.y);
  if (row < n_rows && column < n_columns) tile[threadIdx.y * (side + 1) + threadIdx.x] = x[row * n_columns + column];
  __syncthreads();
  const int out_row = static_cast<int>(blockIdx.x) * side + static_cast<int>(threadIdx.y);
  const int out_column = static_cast<int>(blockIdx.y) * side + static_cast<int>(threadIdx.x);
  if (out_row < n_columns && out_column < n_rows) {
    out[out_row * n_rows + out_column] = tile[threadIdx.x * (side + 1) + threadIdx.y];
  }
}

extern "C" __global__ void count_u32(const float* __restrict__ x, unsigned* __restrict__ count, size_t n) {
  const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n && x[i] > 0.0f) atomicAdd(count, 1u);
}

// Copies with a step: what a kernel should be, for tests of what surrounds it.
extern "C" __global__ void copy_f32(const float* __restrict__ x, float* __restrict__ out, size_t n) {
  const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) out[i] = x[i];
}

// 16 bytes at a time: needs addresses that are multiples of 16.
extern "C" __global__ void copy_f32x4(const float4* __restrict__ x, float4* __restrict__ out, size_t n) {
  const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) out[i] = x[i];
}

// Wrong: no check of n.
extern "C" __global__ void copy_too_far_f32(const float* __restrict__ x, float* __restrict__ out) {
  const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  out[i] = x[0];
}

// Wrong: half of the threads meet no barrier.
extern "C" __global__ void half_a_barrier(float* __restrict__ out) {
  if (threadIdx.x < blockDim.x / 2) __syncthreads();
  out[threadIdx.x] = 1.0f;
}

// Wrong: two barriers where there should be one.
extern "C" __global__ void two_barriers(float* __restrict__ out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1.0f;
}

// Wrong: a lane that takes no part is read.
extern "C" __global__ void half_a_shuffle(int* __restrict__ out) {
  const int lane = threadIdx.x;
  if (lane < 16) out[lane] = __shfl_down_sync(0x0000ffffu, lane, 8);
}

// Wrong: lanes named in the mask have gone.
extern "C" __global__ void shuffle_without_all(int* __restrict__ out) {
  const int lane = threadIdx.x;
  if (lane >= 16) return;
  out[lane] = __shfl_down_sync(0xffffffffu, lane, 1);
}

// Wrong: the barrier between writing and reading is missing.
extern "C" __global__ void reverse_no_barrier_f32(const float* __restrict__ x, float* __restrict__ out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// Wrong: the next value is written before the last one is read by all.
extern "C" __global__ void overwrite_early_f32(const float* __restrict__ x, float* __restrict__ out) {
  __shared__ float one;
  float sum = 0.0f;
  for (int i = 0; i < 4; ++i) {
    if (threadIdx.x == 0) one = x[i];
    __syncthreads();
    sum += one;
  }
  out[threadIdx.x] = sum;
}

// Wrong: the first thread clears what the others still read.
extern "C" __global__ void cleared_under_readers_f32(const float* __restrict__ x, float* __restrict__ out) {
  __shared__ float one;
  if (threadIdx.x == 0) one = x[0];
  __syncthreads();
  out[threadIdx.x] = one;
  if (threadIdx.x == blockDim.x - 1) one = 0.0f;
}

// Wrong: one more than its static shared memory.
extern "C" __global__ void static_too_far_f32(float* __restrict__ out) {
  __shared__ float tile[64];
  tile[threadIdx.x + 1] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[(threadIdx.x + 1) % 64];
}

// Right within a warp, wrong in a block of two: lanes are ordered by __syncwarp alone.
extern "C" __global__ void reverse_in_warp_f32(const float* __restrict__ x, float* __restrict__ out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// Wrong: every block writes the same word.
extern "C" __global__ void last_block_u32(unsigned* __restrict__ out) {
  if (threadIdx.x == 0) out[0] = blockIdx.x;
}

// Wrong: shared memory is read that nobody wrote.
extern "C" __global__ void shared_unwritten_f32(float* __restrict__ out) {
  __shared__ float tile[64];
  if (threadIdx.x > 0) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

// Wrong: one more than the dynamic shared memory of the launch, which is a float for each thread.
extern "C" __global__ void dynamic_too_far_f32(float* __restrict__ out) {
  SHARED_DYN(float, tile);
  tile[threadIdx.x + 1] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x + 1];
}

// Wrong from thread 32 on: a shift by the width of an int.
extern "C" __global__ void shift_i32(int* __restrict__ out, int by) { out[threadIdx.x] = 1 << (by + threadIdx.x); }
