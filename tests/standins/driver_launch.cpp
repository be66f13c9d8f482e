// driver_launch.cpp: modules, functions, launches.
#include <cstring>

#include "driver.h"
#include "emulator.h"

Kernel* first_kernel;

namespace {

constexpr int max_dynamic_bytes = 163 << 10;

Function* function_of(void* handle) {
  return current_context && holds(current_context->functions, handle) ? static_cast<Function*>(handle) : nullptr;
}

// The first bytes of a fatbin, of a cubin, or PTX.
bool is_image(const void* image) {
  const unsigned char fatbin[] = {0x50, 0xed, 0x55, 0xba}, cubin[] = {0x7f, 'E', 'L', 'F'};
  return memcmp(image, fatbin, 4) == 0 || memcmp(image, cubin, 4) == 0 || memcmp(image, "//", 2) == 0 ||
         memcmp(image, ".ver", 4) == 0;
}

// Null, or inside or just behind a live allocation of this context.
void check_pointer(const Kernel& kernel, unsigned index, std::uintptr_t address) {
  if (address == 0) return;
  const Allocation* allocation = allocation_at(address);
  if (!allocation) allocation = allocation_at(address - 1);
  if (!allocation) {
    violation("argument %u of %s: %p is no device pointer, or lies in no live allocation", index, kernel.name,
              reinterpret_cast<void*>(address));
  }
  if (allocation->context != current_context) {
    violation("argument %u of %s: %p belongs to another context", index, kernel.name,
              reinterpret_cast<void*>(address));
  }
}

std::uintptr_t pointer_in(void* const* arguments, unsigned index) {
  std::uintptr_t address;
  memcpy(&address, arguments[index], sizeof address);
  return address;
}

void check_arguments(const Kernel& kernel, void* const* arguments) {
  for (unsigned i = 0; i < kernel.n_parameters; ++i) {
    if (!arguments || !arguments[i]) violation("argument %u of %s is missing", i, kernel.name);
    if (!kernel.parameters[i].pointer) continue;
    const std::uintptr_t address = pointer_in(arguments, i);
    check_pointer(kernel, i, address);
    for (unsigned j = 0; j < i; ++j) {
      const bool writes = kernel.parameters[i].writes || kernel.parameters[j].writes;
      if (address && writes && kernel.parameters[j].pointer && pointer_in(arguments, j) == address) {
        violation("arguments %u and %u of %s are the same memory, which the kernel writes", j, i, kernel.name);
      }
    }
  }
}

// Without checked loads and stores: what may be written counts as written.
void mark_arguments(const Kernel& kernel, void* const* arguments) {
  for (unsigned i = 0; i < kernel.n_parameters; ++i) {
    if (!kernel.parameters[i].pointer) continue;
    Allocation* allocation = allocation_at(pointer_in(arguments, i));
    if (allocation && kernel.parameters[i].writes) allocation->written = true;
  }
}

// Loads and stores are checked from here on: not those that copied the arguments.
void run_with(const Launch& launch, const void* grid) {
  kernel_context = current_context;
  run_grid(*static_cast<const Grid*>(grid), launch);
  kernel_context = nullptr;
}

bool fits(const unsigned grid[3], const unsigned block[3]) {
  const std::size_t threads = static_cast<std::size_t>(block[0]) * block[1] * block[2];
  return threads >= 1 && threads <= 1024 && block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64 && grid[0] >= 1 &&
         grid[0] <= 2147483647u && grid[1] >= 1 && grid[1] <= 65535 && grid[2] >= 1 && grid[2] <= 65535;
}

}  // namespace

EXPORT CUresult cuModuleLoadData(void** handle, const void* image) {
  Call call("cuModuleLoadData");
  NEEDS_CONTEXT;
  if (!image) return CUDA_ERROR_INVALID_VALUE;
  if (!is_image(image)) return CUDA_ERROR_INVALID_IMAGE;
  Module* module = new Module{current_context};
  current_context->modules.push_back(module);
  *handle = module;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleUnload(void* handle) {
  Call call("cuModuleUnload");
  NEEDS_CONTEXT;
  if (!take_out(current_context->modules, handle)) return CUDA_ERROR_INVALID_HANDLE;
  std::vector<Function*> kept;
  for (Function* function : current_context->functions) {
    if (function->module == handle) {
      delete function;
    } else {
      kept.push_back(function);
    }
  }
  current_context->functions = kept;
  delete static_cast<Module*>(handle);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
  Call call("cuModuleGetFunction");
  NEEDS_CONTEXT;
  if (!holds(current_context->modules, module_handle)) return CUDA_ERROR_INVALID_HANDLE;
  for (Kernel* kernel = first_kernel; kernel; kernel = kernel->next) {
    if (strcmp(kernel->name, name) != 0) continue;
    Function* function = new Function{kernel, static_cast<Module*>(module_handle)};
    current_context->functions.push_back(function);
    *handle = function;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult cuFuncGetParamInfo(void* handle, std::size_t index, std::size_t* offset, std::size_t* size) {
  Call call("cuFuncGetParamInfo");
  Function* function = function_of(handle);
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  if (index >= function->kernel->n_parameters) return CUDA_ERROR_INVALID_VALUE;
  *offset = function->kernel->parameters[index].offset;
  if (size) *size = function->kernel->parameters[index].size;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncSetAttribute(void* handle, int attribute, int value) {
  Call call("cuFuncSetAttribute");
  Function* function = function_of(handle);
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  if (attribute == 8) {  // dynamic shared memory that a launch may ask for
    if (value < 0 || value > max_dynamic_bytes) return CUDA_ERROR_INVALID_VALUE;
    function->kernel->max_dynamic_bytes = value;
  }
  return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncGetAttribute(int* value, int attribute, void* handle) {
  Call call("cuFuncGetAttribute");
  Function* function = function_of(handle);
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  const Kernel& kernel = *function->kernel;
  switch (attribute) {
    case 0: *value = 1024; break;                                                     // threads per block
    case 1: *value = static_cast<int>(kernel.shared_end - kernel.shared_begin); break;  // of the whole file
    case 8: *value = kernel.max_dynamic_bytes; break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int threads, std::size_t) {
  *blocks = threads > 0 ? 2048 / threads : 0;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                               unsigned block_y, unsigned block_z, unsigned dynamic_bytes, void* stream_handle,
                               void** arguments, void** extra) {
  Call call("cuLaunchKernel");
  NEEDS_CONTEXT;
  Function* function = function_of(handle);
  Stream* stream = stream_of(stream_handle);
  if (!function || !stream) return CUDA_ERROR_INVALID_HANDLE;
  Kernel& kernel = *function->kernel;
  const Grid grid = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_bytes, kernel.shared_begin,
                     kernel.shared_end};
  if (!fits(grid.grid, grid.block)) return CUDA_ERROR_INVALID_VALUE;
  if (dynamic_bytes > static_cast<unsigned>(kernel.max_dynamic_bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (extra) violation("arguments through `extra` are not in the stand-in");
  current_kernel = kernel.name;
  begin_on(stream);
  check_arguments(kernel, arguments);
  if (!kernels_are_checked()) mark_arguments(kernel, arguments);
  begin_shared(kernel.shared_begin, kernel.shared_end);
  kernel.with_arguments(arguments, run_with, &grid);
  current_kernel = nullptr;
  return CUDA_SUCCESS;
}
