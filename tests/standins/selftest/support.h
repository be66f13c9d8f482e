// support.h: what the cases of the self-test share.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "api.h"

// Ends the case with its line where `condition` does not hold.
#define EXPECT(condition)                                                         \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition);    \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)
#define OK(call) EXPECT((call) == 0)

// A device with a context, and a module that holds all kernels.
struct Device {
  Device() {
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    const unsigned char fatbin[16] = {0x50, 0xed, 0x55, 0xba};
    OK(cuModuleLoadData(&module, fatbin));
  }
  void* function(const char* name) {
    void* handle = nullptr;
    OK(cuModuleGetFunction(&handle, module, name));
    return handle;
  }
  void* context = nullptr;
  void* module = nullptr;
};

inline CUdeviceptr device_memory(std::size_t bytes) {
  CUdeviceptr address = 0;
  OK(cuMemAlloc_v2(&address, bytes));
  return address;
}

template <class T>
CUdeviceptr on_device(const std::vector<T>& values) {
  const CUdeviceptr address = device_memory(values.size() * sizeof(T));
  OK(cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)));
  OK(cuCtxSynchronize());
  return address;
}

template <class T>
std::vector<T> from_device(CUdeviceptr address, std::size_t n) {
  std::vector<T> values(n);
  OK(cuMemcpyDtoH_v2(values.data(), address, n * sizeof(T)));
  return values;
}

inline void* new_stream() {
  void* stream = nullptr;
  OK(cuStreamCreate(&stream, 1));
  return stream;
}

inline std::vector<float> numbers(std::size_t n, unsigned seed = 1) {
  std::vector<float> values(n);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return values;
}

struct Shape {
  unsigned grid_x, block_x, grid_y = 1, block_y = 1, dynamic = 0;
};

inline CUresult launch(void* function, Shape s, void* stream, std::initializer_list<const void*> arguments) {
  std::vector<void*> list;
  for (const void* argument : arguments) list.push_back(const_cast<void*>(argument));
  return cuLaunchKernel(function, s.grid_x, s.grid_y, 1, s.block_x, s.block_y, 1, s.dynamic, stream, list.data(),
                        nullptr);
}

struct Case {
  const char* name;
  void (*run)();
};
extern const std::vector<Case> emulator_cases, driver_cases, order_cases, blas_cases;
