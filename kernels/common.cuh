// common.cuh: what every kernel shares.
#pragma once
#include <stddef.h>

// The voxel of this thread: every kernel has voxels along x.
__device__ __forceinline__ size_t voxel_of_thread() {
  return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// False for NaN and the infinities; needs no fast-math, which the build never sets.
__device__ __forceinline__ bool is_finite(float x) { return x - x == 0.0f; }

// Flags of a voxel, one byte: bits may be ORed in any order.
#define VOXEL_NOT_FINITE 1  /* a NaN or an infinity was seen */
#define VOXEL_VARIES 2      /* two values differ */

__device__ __forceinline__ bool is_dead(unsigned char flags) {
  return (flags & VOXEL_NOT_FINITE) != 0 || (flags & VOXEL_VARIES) == 0;
}

#define F64_EPSILON 2.220446049250313e-16
#define F32_NAN nanf("")
#define F64_NAN nan("")
