#include "shared_calls.h"

#include "driver.h"

namespace {
const char* outer_function;
}

EXPORT bool standin_begin(const char* name, void* handle) {
  driver_mutex.lock();
  Stream* stream = current_context && current_context->references ? stream_of(handle) : nullptr;
  if (!stream) {
    driver_mutex.unlock();
    return false;
  }
  outer_function = current_function;
  current_function = name;
  begin_on(stream);
  return true;
}

EXPORT void standin_reads(const void* address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride,
                          const char* what) {
  touch(current_context, reinterpret_cast<std::uintptr_t>(address), row_bytes, n_rows, stride, Access::read, what);
}

EXPORT void standin_writes(void* address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride,
                           const char* what) {
  touch(current_context, reinterpret_cast<std::uintptr_t>(address), row_bytes, n_rows, stride, Access::write, what);
}

EXPORT void standin_end() {
  current_function = outer_function;
  driver_mutex.unlock();
}

EXPORT void standin_refuse(const char* reason) { violation("%s", reason); }
