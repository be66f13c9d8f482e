// emulator.cpp: kernels that are right give what they should, those that are wrong are stopped.
#include <cmath>

#include "support.h"

namespace {

void sums_a_block() {
  Device device;
  const std::size_t n = 1000;
  const std::vector<float> x = numbers(n);
  const CUdeviceptr in = on_device(x), out = device_memory(4 * sizeof(double));
  OK(launch(device.function("block_sum_f64"), {4, 256}, nullptr, {&in, &out, &n}));
  const std::vector<double> sums = from_device<double>(out, 4);
  for (std::size_t b = 0; b < 4; ++b) {
    double sum = 0;
    for (std::size_t i = 256 * b; i < n && i < 256 * (b + 1); ++i) sum += x[i];
    EXPECT(std::fabs(sums[b] - sum) < 1e-12);
  }
}

void exchanges_in_a_warp() {
  Device device;
  const CUdeviceptr out = device_memory(64 * 8 * sizeof(int));
  OK(launch(device.function("warp_ways_i32"), {1, 64}, nullptr, {&out}));
  const std::vector<int> seen = from_device<int>(out, 64 * 8);
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, *mine = &seen[static_cast<std::size_t>(t) * 8];
    EXPECT(mine[0] == 31 * 32 / 2);
    EXPECT(mine[1] == (lane + 3 < 32 ? lane + 3 : lane));
    EXPECT(mine[2] == (lane % 8 >= 3 ? lane - 3 : lane));
    EXPECT(mine[3] == lane / 16 * 16 + 3);
    EXPECT(mine[4] == 0x55555555);
    EXPECT(mine[5] == 1 && mine[6] == 0);
    EXPECT(mine[7] == (lane < 8 ? lane + 8 : lane < 16 ? lane : 0));
  }
}

void transposes_in_dynamic_shared_memory() {
  Device device;
  const int n_rows = 37, n_columns = 23;
  const std::vector<float> x = numbers(37 * 23);
  const CUdeviceptr in = on_device(x), out = device_memory(x.size() * 4);
  OK(launch(device.function("transpose_f32"), {3, 8, 5, 8, 8 * 9 * 4}, nullptr, {&in, &out, &n_rows, &n_columns}));
  const std::vector<float> turned = from_device<float>(out, x.size());
  for (std::size_t r = 0; r < 37; ++r) {
    for (std::size_t c = 0; c < 23; ++c) EXPECT(turned[c * 37 + r] == x[r * 23 + c]);
  }
}

void counts_by_atomics() {
  Device device;
  const std::size_t n = 1000;
  const std::vector<float> x = numbers(n);
  unsigned positive = 0;
  for (float value : x) positive += value > 0;
  const CUdeviceptr in = on_device(x), count = on_device(std::vector<unsigned>{0});
  OK(launch(device.function("count_u32"), {8, 128}, nullptr, {&in, &count, &n}));
  EXPECT(from_device<unsigned>(count, 1)[0] == positive);
}

void warp_barrier_orders_its_warp() {
  Device device;
  const std::vector<float> x = numbers(32);
  const CUdeviceptr in = on_device(x), out = device_memory(32 * 4);
  OK(launch(device.function("reverse_in_warp_f32"), {1, 32}, nullptr, {&in, &out}));
  EXPECT(from_device<float>(out, 32)[0] == x[31]);
}

// A launch of 64 threads with one or two buffers of 64 floats.
void run_wrong(const char* name, unsigned threads, bool with_input, unsigned dynamic = 0, unsigned blocks = 1) {
  Device device;
  const CUdeviceptr in = on_device(numbers(64)), out = device_memory(64 * 4);
  if (with_input) {
    launch(device.function(name), {blocks, threads, 1, 1, dynamic}, nullptr, {&in, &out});
  } else {
    launch(device.function(name), {blocks, threads, 1, 1, dynamic}, nullptr, {&out});
  }
  cuCtxSynchronize();
}

// The last three of 64 stores meet the red zone behind 61 floats.
void stores_into_a_red_zone() {
  Device device;
  const CUdeviceptr in = on_device(numbers(1)), out = device_memory(61 * 4);
  launch(device.function("copy_too_far_f32"), {1, 64}, nullptr, {&in, &out});
  cuCtxSynchronize();
}

void shift_too_far() {
  Device device;
  const CUdeviceptr out = device_memory(64 * 4);
  const int by = 0;
  launch(device.function("shift_i32"), {1, 64}, nullptr, {&out, &by});
}

// Four floats at an address that is a multiple of 4 only.
void vectors_at_odd_addresses() {
  Device device;
  const std::size_t n = 4;
  const CUdeviceptr in = on_device(numbers(64)) + 4, out = device_memory(64 * 4);
  launch(device.function("copy_f32x4"), {1, 32}, nullptr, {&in, &out, &n});
}

}  // namespace

const std::vector<Case> emulator_cases = {
    {"sums_a_block", sums_a_block},
    {"exchanges_in_a_warp", exchanges_in_a_warp},
    {"transposes_in_dynamic_shared_memory", transposes_in_dynamic_shared_memory},
    {"counts_by_atomics", counts_by_atomics},
    {"warp_barrier_orders_its_warp", warp_barrier_orders_its_warp},
    {"wrong_half_a_barrier", [] { run_wrong("half_a_barrier", 64, false); }},
    {"wrong_two_barriers", [] { run_wrong("two_barriers", 64, false); }},
    {"wrong_half_a_shuffle", [] { run_wrong("half_a_shuffle", 32, false); }},
    {"wrong_shuffle_without_all", [] { run_wrong("shuffle_without_all", 32, false); }},
    {"wrong_no_barrier", [] { run_wrong("reverse_no_barrier_f32", 64, true); }},
    {"wrong_overwrite_early", [] { run_wrong("overwrite_early_f32", 64, true); }},
    {"wrong_written_under_readers", [] { run_wrong("cleared_under_readers_f32", 64, true); }},
    {"wrong_static_too_far", [] { run_wrong("static_too_far_f32", 64, false); }},
    {"wrong_warp_barrier_for_a_block", [] { run_wrong("reverse_in_warp_f32", 64, true); }},
    {"wrong_blocks_write_one_word", [] { run_wrong("last_block_u32", 64, false, 0, 2); }},
    {"wrong_shared_unwritten", [] { run_wrong("shared_unwritten_f32", 64, false); }},
    {"wrong_dynamic_too_far", [] { run_wrong("dynamic_too_far_f32", 64, false, 64 * 4); }},
    {"wrong_store_behind", [] { run_wrong("copy_too_far_f32", 65, true); }},
    {"wrong_red_zone", stores_into_a_red_zone},
    {"wrong_shift", shift_too_far},
    {"wrong_odd_vectors", vectors_at_odd_addresses},
};
