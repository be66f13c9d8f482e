// driver.h: what the parts of the stand-in libcuda share, and the driver interface's types as far as they are used.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "order.h"
#include "report.h"

enum CUresult {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_NOT_SUPPORTED = 801,
};
using CUdevice = int;
using CUdeviceptr = unsigned long long;

struct Module {
  Context* context;
};
struct Function {
  Kernel* kernel;
  Module* module;
};

struct Context {
  int device = 0;
  unsigned references = 0;
  Stream* default_stream = nullptr;
  std::vector<Stream*> streams;
  std::vector<Event*> events;
  std::vector<Module*> modules;
  std::vector<Function*> functions;
};

// What the environment says of the devices, read once.
struct Settings {
  std::size_t n_devices, memory_bytes, fail_allocation;
  bool fail_all_later, log;
};
const Settings& settings();

// One call at a time, whatever the threads of the program do.
extern std::recursive_mutex driver_mutex;
extern thread_local Context* current_context;

struct Call : std::lock_guard<std::recursive_mutex>, FunctionScope {
  explicit Call(const char* name);
};

// The stream behind a handle, null for a handle of none: 0 and CU_STREAM_LEGACY are the current context's default.
Stream* stream_of(void* handle);
// Begins an operation of a stream, with what the default stream's rules put before it.
void begin_on(Stream* stream);
// The host waits for all that the stream has been given.
void wait_for(Stream* stream);

template <class T>
bool holds(const std::vector<T*>& list, const void* item) {
  for (const T* one : list) {
    if (one == item) return true;
  }
  return false;
}
template <class T>
bool take_out(std::vector<T*>& list, const void* item) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] != item) continue;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

// Static shared memory of the kernel that is launched next.
void begin_shared(unsigned char* begin, unsigned char* end);

#define EXPORT extern "C" __attribute__((visibility("default")))
#define NEEDS_CONTEXT \
  if (!current_context || current_context->references == 0) return CUDA_ERROR_INVALID_CONTEXT
