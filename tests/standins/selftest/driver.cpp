// driver.cpp: memory, launches and their limits.
#include "support.h"

namespace {

const std::size_t n = 100;

void copies_there_and_back() {
  Device device;
  const std::vector<float> x = numbers(n);
  const CUdeviceptr in = on_device(x), out = device_memory(n * 4);
  OK(launch(device.function("copy_f32"), {1, 128}, nullptr, {&in, &out, &n}));
  EXPECT(from_device<float>(out, n) == x);
  OK(cuMemFree_v2(in));
  OK(cuMemFree_v2(out));
  OK(cuDevicePrimaryCtxRelease_v2(0));
}

void tells_its_memory() {
  Device device;
  std::size_t free_bytes = 0, total = 0;
  OK(cuMemGetInfo_v2(&free_bytes, &total));
  EXPECT(total == 1 << 20 && free_bytes == total);
  const CUdeviceptr half = device_memory(1 << 19);
  CUdeviceptr more = 0;
  EXPECT(cuMemAlloc_v2(&more, (1 << 19) + 1) == 2);
  OK(cuMemAlloc_v2(&more, 1 << 19));
  OK(cuMemFree_v2(half));
  OK(cuMemGetInfo_v2(&free_bytes, &total));
  EXPECT(free_bytes == 1 << 19);
}

void fails_the_third_allocation() {
  Device device;
  CUdeviceptr address = 0;
  OK(cuMemAlloc_v2(&address, 64));
  OK(cuMemAlloc_v2(&address, 64));
  EXPECT(cuMemAlloc_v2(&address, 64) == 2);
  OK(cuMemAlloc_v2(&address, 64));
}

void fails_from_the_second_allocation_on() {
  Device device;
  CUdeviceptr address = 0;
  OK(cuMemAlloc_v2(&address, 64));
  EXPECT(cuMemAlloc_v2(&address, 64) == 2);
  EXPECT(cuMemAllocAsync(&address, 64, nullptr) == 2);
}

void counts_its_devices() {
  OK(cuInit(0));
  int count = 0;
  OK(cuDeviceGetCount(&count));
  EXPECT(count == 3);
}

void has_no_device() { EXPECT(cuInit(0) == 100); }

void refuses_launches_that_no_card_takes() {
  Device device;
  const CUdeviceptr in = on_device(numbers(n)), out = device_memory(n * 4);
  void* copy = device.function("copy_f32");
  EXPECT(launch(copy, {1, 1025}, nullptr, {&in, &out, &n}) == 1);
  EXPECT(launch(copy, {0, 32}, nullptr, {&in, &out, &n}) == 1);
  EXPECT(launch(copy, {1, 32, 65536}, nullptr, {&in, &out, &n}) == 1);
  EXPECT(launch(copy, {1, 32, 1, 1, 50 << 10}, nullptr, {&in, &out, &n}) == 1);
  OK(cuFuncSetAttribute(copy, 8, 60 << 10));
  OK(launch(copy, {1, 128, 1, 1, 50 << 10}, nullptr, {&in, &out, &n}));
  EXPECT(launch(copy, {1, 32}, &device, {&in, &out, &n}) == 400);
  void* none = nullptr;
  EXPECT(cuModuleGetFunction(&none, device.module, "no_such_kernel") == 500);
  EXPECT(cuModuleLoadData(&none, "not an image") == 200);
}

void tells_the_arguments_of_a_kernel() {
  Device device;
  void* copy = device.function("transpose_f32");
  const std::size_t offsets[] = {0, 8, 16, 20}, sizes[] = {8, 8, 4, 4};
  for (std::size_t i = 0; i < 4; ++i) {
    std::size_t offset = 99, size = 99;
    OK(cuFuncGetParamInfo(copy, i, &offset, &size));
    EXPECT(offset == offsets[i] && size == sizes[i]);
  }
  std::size_t offset, size;
  EXPECT(cuFuncGetParamInfo(copy, 4, &offset, &size) == 1);
}

void wrong_freed_twice() {
  Device device;
  const CUdeviceptr x = device_memory(64);
  cuMemFree_v2(x);
  cuMemFree_v2(x);
}
void wrong_freed_inside() {
  Device device;
  cuMemFree_v2(device_memory(64) + 4);
}
void wrong_leak() {
  Device device;
  device_memory(64);
  cuDevicePrimaryCtxRelease_v2(0);
}
void wrong_copy_too_long() {
  Device device;
  const std::vector<float> x = numbers(17);
  cuMemcpyHtoD_v2(device_memory(64), x.data(), 68);
}
void wrong_copy_to_the_host_by_mistake() {
  Device device;
  std::vector<float> x = numbers(16);
  cuMemcpyHtoD_v2(reinterpret_cast<CUdeviceptr>(x.data()), x.data(), 64);
}
void wrong_read_of_unwritten() {
  Device device;
  from_device<float>(device_memory(64), 16);
}
void wrong_read_of_half_written() {
  Device device;
  const CUdeviceptr x = device_memory(64);
  cuMemsetD8Async(x, 0, 32, nullptr);
  from_device<float>(x, 16);
}
void wrong_kernel_reads_unwritten() {
  Device device;
  const CUdeviceptr in = device_memory(n * 4), out = device_memory(n * 4);
  launch(device.function("copy_f32"), {1, 128}, nullptr, {&in, &out, &n});
}
void wrong_kernel_gets_a_host_pointer() {
  Device device;
  const std::vector<float> x = numbers(n);
  const float* in = x.data();
  const CUdeviceptr out = device_memory(n * 4);
  launch(device.function("copy_f32"), {1, 128}, nullptr, {&in, &out, &n});
}
void wrong_kernel_gets_freed_memory() {
  Device device;
  const CUdeviceptr in = on_device(numbers(n)), out = device_memory(n * 4);
  cuMemFree_v2(in);
  launch(device.function("copy_f32"), {1, 128}, nullptr, {&in, &out, &n});
}
void wrong_arguments_in_another_order() {
  Device device;
  const CUdeviceptr in = on_device(numbers(n)), out = device_memory(n * 4);
  launch(device.function("copy_f32"), {1, 128}, nullptr, {&n, &in, &out});
}
void wrong_argument_missing() {
  Device device;
  const CUdeviceptr in = on_device(numbers(n)), out = device_memory(n * 4);
  launch(device.function("copy_f32"), {1, 128}, nullptr, {&in, &out, nullptr});
}
void wrong_in_and_out_are_one() {
  Device device;
  const CUdeviceptr in = on_device(numbers(n));
  launch(device.function("copy_f32"), {1, 128}, nullptr, {&in, &in, &n});
}
void wrong_another_device_s_memory() {
  Device device;
  const CUdeviceptr in = on_device(numbers(n));
  void* other = nullptr;
  OK(cuDevicePrimaryCtxRetain(&other, 1));
  OK(cuCtxSetCurrent(other));
  from_device<float>(in, n);
}

}  // namespace

const std::vector<Case> driver_cases = {
    {"copies_there_and_back", copies_there_and_back},
    {"tells_its_memory", tells_its_memory},
    {"fails_the_third_allocation", fails_the_third_allocation},
    {"fails_from_the_second_allocation_on", fails_from_the_second_allocation_on},
    {"counts_its_devices", counts_its_devices},
    {"has_no_device", has_no_device},
    {"refuses_launches_that_no_card_takes", refuses_launches_that_no_card_takes},
    {"tells_the_arguments_of_a_kernel", tells_the_arguments_of_a_kernel},
    {"wrong_freed_twice", wrong_freed_twice},
    {"wrong_freed_inside", wrong_freed_inside},
    {"wrong_leak", wrong_leak},
    {"wrong_copy_too_long", wrong_copy_too_long},
    {"wrong_copy_to_the_host_by_mistake", wrong_copy_to_the_host_by_mistake},
    {"wrong_read_of_unwritten", wrong_read_of_unwritten},
    {"wrong_read_of_half_written", wrong_read_of_half_written},
    {"wrong_kernel_reads_unwritten", wrong_kernel_reads_unwritten},
    {"wrong_kernel_gets_a_host_pointer", wrong_kernel_gets_a_host_pointer},
    {"wrong_kernel_gets_freed_memory", wrong_kernel_gets_freed_memory},
    {"wrong_arguments_in_another_order", wrong_arguments_in_another_order},
    {"wrong_argument_missing", wrong_argument_missing},
    {"wrong_in_and_out_are_one", wrong_in_and_out_are_one},
    {"wrong_another_device_s_memory", wrong_another_device_s_memory},
};
