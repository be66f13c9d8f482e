// driver_memory.cpp: allocations and copies.
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace {

void* host_address(CUdeviceptr address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); }

bool allocation_fails() {
  static std::size_t n_allocations;
  ++n_allocations;
  const Settings& s = settings();
  return s.fail_allocation != 0 &&
         (n_allocations == s.fail_allocation || (s.fail_all_later && n_allocations > s.fail_allocation));
}

CUresult allocate_on(CUdeviceptr* address, std::size_t bytes, Stream* stream) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (allocation_fails()) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::size_t used = bytes_of(current_context);
  if (bytes > settings().memory_bytes || used > settings().memory_bytes - bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  if (stream) {
    begin_on(stream);
  } else {
    begin_operation(nullptr);
  }
  const Allocation* allocation = allocate(current_context, bytes, current_operation);
  if (!allocation) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = allocation->begin;
  return CUDA_SUCCESS;
}

CUresult free_on(CUdeviceptr address, Stream* stream) {
  if (address == 0) return CUDA_SUCCESS;
  Allocation* allocation = allocation_at(static_cast<std::uintptr_t>(address));
  if (!allocation) violation("%p is not allocated: freed before, or never a device pointer", host_address(address));
  if (allocation->begin != address) {
    violation("%p lies inside an allocation that begins at %p", host_address(address),
              reinterpret_cast<void*>(allocation->begin));
  }
  if (stream) {
    begin_on(stream);
  } else {
    begin_operation(nullptr);
  }
  touch_all(*allocation, "freed memory");
  release(allocation);
  return CUDA_SUCCESS;
}

void refuse_device(const void* host, const char* what) {
  if (in_arena(reinterpret_cast<std::uintptr_t>(host))) violation("%s: %p is a device pointer", what, host);
}

enum class Host { asynchronous, waits };

CUresult to_device(CUdeviceptr to, const void* from, std::size_t bytes, Stream* stream, Host host) {
  if (bytes == 0) return CUDA_SUCCESS;
  refuse_device(from, "source");
  begin_on(stream);
  touch(current_context, to, bytes, 1, 0, Access::write, "destination");
  const bool pinned = is_pinned(from, bytes);
  if (pinned) copy_from_pinned(from, bytes);
  memcpy(host_address(to), from, bytes);
  // From pageable memory the host has got rid of its bytes, but they may not have arrived.
  if (pinned && host == Host::waits) wait_for(stream);
  return CUDA_SUCCESS;
}

CUresult to_host(void* to, CUdeviceptr from, std::size_t bytes, Stream* stream, Host host) {
  if (bytes == 0) return CUDA_SUCCESS;
  refuse_device(to, "destination");
  begin_on(stream);
  touch(current_context, from, bytes, 1, 0, Access::read, "source");
  if (is_pinned(to, bytes)) {
    copy_to_pinned(to, host_address(from), bytes);
    if (host == Host::waits) wait_for(stream);
  } else {
    memcpy(to, host_address(from), bytes);
    wait_for(stream);
  }
  return CUDA_SUCCESS;
}

CUresult on_device(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, Stream* stream) {
  if (bytes == 0) return CUDA_SUCCESS;
  begin_on(stream);
  if (to < from + bytes && from < to + bytes) violation("source and destination overlap");
  touch(current_context, from, bytes, 1, 0, Access::read, "source");
  touch(current_context, to, bytes, 1, 0, Access::write, "destination");
  memcpy(host_address(to), host_address(from), bytes);
  return CUDA_SUCCESS;
}

template <class T>
CUresult fill(CUdeviceptr to, T value, std::size_t n, Stream* stream) {
  if (n == 0) return CUDA_SUCCESS;
  if (to % sizeof(T) != 0) return CUDA_ERROR_INVALID_VALUE;
  begin_on(stream);
  touch(current_context, to, n * sizeof(T), 1, 0, Access::write, "destination");
  T* values = static_cast<T*>(host_address(to));
  for (std::size_t i = 0; i < n; ++i) values[i] = value;
  return CUDA_SUCCESS;
}

}  // namespace

// The stream behind `handle`, or the function returns the error.
#define BEGIN(name, handle)                        \
  Call call(#name);                                \
  NEEDS_CONTEXT;                                   \
  Stream* stream = stream_of(handle);              \
  if (!stream) return CUDA_ERROR_INVALID_HANDLE

EXPORT CUresult cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total) {
  Call call("cuMemGetInfo_v2");
  NEEDS_CONTEXT;
  const std::size_t used = bytes_of(current_context);
  *total = settings().memory_bytes;
  *free_bytes = used < *total ? *total - used : 0;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
  Call call("cuMemAlloc_v2");
  NEEDS_CONTEXT;
  return allocate_on(address, bytes, nullptr);
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr* address, std::size_t bytes, void* handle) {
  BEGIN(cuMemAllocAsync, handle);
  return allocate_on(address, bytes, stream);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  Call call("cuMemFree_v2");
  NEEDS_CONTEXT;
  return free_on(address, nullptr);
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr address, void* handle) {
  BEGIN(cuMemFreeAsync, handle);
  return free_on(address, stream);
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
  BEGIN(cuMemcpyHtoD_v2, nullptr);
  return to_device(to, from, bytes, stream, Host::waits);
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, void* handle) {
  BEGIN(cuMemcpyHtoDAsync_v2, handle);
  return to_device(to, from, bytes, stream, Host::asynchronous);
}

EXPORT CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
  BEGIN(cuMemcpyDtoH_v2, nullptr);
  return to_host(to, from, bytes, stream, Host::waits);
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, void* handle) {
  BEGIN(cuMemcpyDtoHAsync_v2, handle);
  return to_host(to, from, bytes, stream, Host::asynchronous);
}

EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  BEGIN(cuMemcpyDtoD_v2, nullptr);
  return on_device(to, from, bytes, stream);
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, void* handle) {
  BEGIN(cuMemcpyDtoDAsync_v2, handle);
  return on_device(to, from, bytes, stream);
}

EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, std::size_t n) {
  BEGIN(cuMemsetD8_v2, nullptr);
  return fill(to, value, n, stream);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t n, void* handle) {
  BEGIN(cuMemsetD8Async, handle);
  return fill(to, value, n, stream);
}

EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, std::size_t n) {
  BEGIN(cuMemsetD32_v2, nullptr);
  return fill(to, value, n, stream);
}

EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, std::size_t n, void* handle) {
  BEGIN(cuMemsetD32Async, handle);
  return fill(to, value, n, stream);
}

EXPORT CUresult cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  Call call("cuMemHostAlloc");
  NEEDS_CONTEXT;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (posix_memalign(address, page_bytes, bytes) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
  memset(*address, 0xff, bytes);
  pin(*address, bytes);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAllocHost_v2(void** address, std::size_t bytes) { return cuMemHostAlloc(address, bytes, 0); }

EXPORT CUresult cuMemFreeHost(void* address) {
  Call call("cuMemFreeHost");
  NEEDS_CONTEXT;
  if (!unpin(address)) violation("%p was not pinned by cuMemHostAlloc, or is freed twice", address);
  free(address);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemHostRegister_v2(void* address, std::size_t bytes, unsigned) {
  Call call("cuMemHostRegister_v2");
  NEEDS_CONTEXT;
  pin(address, bytes);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemHostUnregister(void* address) {
  Call call("cuMemHostUnregister");
  NEEDS_CONTEXT;
  if (!unpin(address)) violation("%p is not registered", address);
  return CUDA_SUCCESS;
}
