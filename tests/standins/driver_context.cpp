// driver_context.cpp: devices, contexts, errors by name.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"

std::recursive_mutex driver_mutex;
thread_local Context* current_context;

namespace {

bool initialized;
std::vector<Context> primaries;

Settings read_settings() {
  Settings s = {};
  s.n_devices = environment_number("VOXELCAST_STANDIN_DEVICES", 1);
  s.memory_bytes = environment_number("VOXELCAST_STANDIN_MEMORY", std::size_t(2) << 30);
  s.log = environment_flag("VOXELCAST_STANDIN_LOG");
  const char* fail = getenv("VOXELCAST_STANDIN_FAIL_ALLOC");
  if (fail && *fail) {
    char* end = nullptr;
    s.fail_allocation = strtoull(fail, &end, 10);
    s.fail_all_later = *end == '+';
    if (s.fail_allocation == 0) violation("VOXELCAST_STANDIN_FAIL_ALLOC=%s: allocations are counted from 1", fail);
  }
  return s;
}

bool is_device(CUdevice device) { return device >= 0 && static_cast<std::size_t>(device) < primaries.size(); }

struct ErrorText {
  CUresult code;
  const char *name, *text;
};
const ErrorText errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

// Attributes by their number in the driver's header; those of an A100.
int attribute(int number) {
  switch (number) {
    case 1: case 2: case 3: return 1024;         // threads per block, block x, block y
    case 4: return 64;                           // block z
    case 5: return 2147483647;                   // grid x
    case 6: case 7: return 65535;                // grid y, z
    case 8: return 48 << 10;                     // shared memory of a block
    case 10: return 32;                          // warp
    case 12: case 82: return 65536;              // registers of a block, of a multiprocessor
    case 13: return 1410000;                     // clock, kHz
    case 16: return 108;                         // multiprocessors
    case 19: case 31: case 41: case 115: return 1;  // mapped host memory, concurrent kernels, one address space, pools
    case 36: return 1215000;                     // memory clock, kHz
    case 37: return 5120;                        // bus, bits
    case 38: return 40 << 20;                    // second-level cache
    case 39: return 2048;                        // threads of a multiprocessor
    case 40: return 3;                           // copy engines
    case 75: return 8;                           // compute capability
    case 76: return 0;
    case 81: return 164 << 10;                   // shared memory of a multiprocessor
    case 97: return 163 << 10;                   // of a block that asks for more
    case 106: return 32;                         // blocks of a multiprocessor
    default: return 0;
  }
}

}  // namespace

const Settings& settings() {
  static const Settings read = read_settings();
  return read;
}

Call::Call(const char* name) : std::lock_guard<std::recursive_mutex>(driver_mutex), FunctionScope(name) {
  if (settings().log) fprintf(stderr, "standin: %s\n", name);
}

EXPORT CUresult cuInit(unsigned) {
  Call call("cuInit");
  if (settings().n_devices == 0) return CUDA_ERROR_NO_DEVICE;
  if (!initialized) primaries.resize(settings().n_devices);
  initialized = true;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int* count) {
  Call call("cuDeviceGetCount");
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  *count = static_cast<int>(primaries.size());
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  Call call("cuDeviceGet");
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (!is_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
  Call call("cuDeviceGetName");
  if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  snprintf(name, static_cast<std::size_t>(length), "voxelcast stand-in");
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetUuid_v2(unsigned char* uuid, CUdevice device) {
  Call call("cuDeviceGetUuid_v2");
  if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  memset(uuid, device, 16);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  Call call("cuDeviceTotalMem_v2");
  if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  *bytes = settings().memory_bytes;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetAttribute(int* value, int number, CUdevice device) {
  Call call("cuDeviceGetAttribute");
  if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  *value = attribute(number);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(Context** context, CUdevice device) {
  Call call("cuDevicePrimaryCtxRetain");
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  Context& primary = primaries[static_cast<std::size_t>(device)];
  primary.device = device;
  if (primary.references++ == 0) primary.default_stream = new Stream{&primary, new_actor(), true, {}};
  *context = &primary;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  Call call("cuDevicePrimaryCtxRelease_v2");
  if (!is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  Context& primary = primaries[static_cast<std::size_t>(device)];
  if (primary.references == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--primary.references > 0) return CUDA_SUCCESS;
  if (const Allocation* left = any_of(&primary)) {
    violation("the context goes while %zu bytes are allocated, %zu of them at %p", bytes_of(&primary), left->size,
              reinterpret_cast<void*>(left->begin));
  }
  if (current_context == &primary) current_context = nullptr;
  for (Stream* stream : primary.streams) host_waits_for(stream->clock);
  host_waits_for(primary.default_stream->clock);
  for (Stream* stream : primary.streams) delete stream;
  for (Event* event : primary.events) delete event;
  for (Module* module : primary.modules) delete module;
  for (Function* function : primary.functions) delete function;
  delete primary.default_stream;
  primary = Context();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetCurrent(Context* context) {
  Call call("cuCtxSetCurrent");
  if (context && context->references == 0) return CUDA_ERROR_INVALID_CONTEXT;
  current_context = context;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetCurrent(Context** context) {
  Call call("cuCtxGetCurrent");
  *context = current_context && current_context->references ? current_context : nullptr;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetDevice(CUdevice* device) {
  Call call("cuCtxGetDevice");
  NEEDS_CONTEXT;
  *device = current_context->device;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetFlags(unsigned) { return CUDA_SUCCESS; }

EXPORT CUresult cuCtxSynchronize() {
  Call call("cuCtxSynchronize");
  NEEDS_CONTEXT;
  wait_for(current_context->default_stream);
  for (Stream* stream : current_context->streams) wait_for(stream);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorName(CUresult code, const char** name) {
  for (const ErrorText& error : errors) {
    if (error.code == code) return *name = error.name, CUDA_SUCCESS;
  }
  *name = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGetErrorString(CUresult code, const char** text) {
  for (const ErrorText& error : errors) {
    if (error.code == code) return *text = error.text, CUDA_SUCCESS;
  }
  *text = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
