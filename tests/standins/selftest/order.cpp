// order.cpp: streams, events, pinned memory: what is in order passes, what is not is stopped.
#include <cmath>

#include "support.h"

namespace {

const std::size_t n = 100, bytes = n * 4;

struct TwoStreams : Device {
  void* first = new_stream();
  void* second = new_stream();
  void* event = nullptr;
  std::vector<float> x = numbers(n);
  CUdeviceptr a = on_device(x), b = device_memory(bytes), c = device_memory(bytes);
  void* copy = function("copy_f32");

  TwoStreams() { OK(cuEventCreate(&event, 2)); }
  void run(void* stream, CUdeviceptr from, CUdeviceptr to) { OK(launch(copy, {1, 128}, stream, {&from, &to, &n})); }
  void second_waits_for_first() {
    OK(cuEventRecord(event, first));
    OK(cuStreamWaitEvent(second, event, 0));
  }
};

void event_orders_two_streams() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  d.second_waits_for_first();
  d.run(d.second, d.b, d.c);
  OK(cuStreamSynchronize(d.second));
  EXPECT(from_device<float>(d.c, n) == d.x);
}
void host_orders_two_streams() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  OK(cuStreamSynchronize(d.first));
  d.run(d.second, d.b, d.c);
}
void two_streams_may_read() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  d.run(d.second, d.a, d.c);
}
void halves_of_a_buffer_on_two_streams() {
  TwoStreams d;
  OK(cuMemcpyHtoDAsync_v2(d.b, d.x.data(), bytes / 2, d.first));
  OK(cuMemcpyHtoDAsync_v2(d.b + bytes / 2, d.x.data(), bytes / 2, d.second));
}
void wrong_read_before_written() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  d.run(d.second, d.b, d.c);
}
void wrong_written_while_read() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  cuMemcpyHtoDAsync_v2(d.a, d.x.data(), bytes, d.second);
}
// Two streams read, the writer has waited for one of them.
void wrong_written_while_another_read() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  d.run(d.second, d.a, d.c);
  cuMemcpyHtoDAsync_v2(d.a, d.x.data(), bytes, d.second);
}
void wrong_written_twice() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  d.run(d.second, d.a, d.b);
}
void wrong_event_too_early() {
  TwoStreams d;
  d.second_waits_for_first();
  d.run(d.first, d.a, d.b);
  d.run(d.second, d.b, d.c);
}
// Default stream and a non-blocking stream do not wait for each other.
void wrong_default_stream_does_not_wait() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  from_device<float>(d.b, n);
}
void wrong_freed_while_used() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  cuMemFree_v2(d.b);
}
void wrong_freed_while_read() {
  TwoStreams d;
  d.run(d.first, d.a, d.b);
  cuMemFreeAsync(d.a, d.second);
}
void wrong_used_before_allocated() {
  TwoStreams d;
  CUdeviceptr late = 0;
  OK(cuMemAllocAsync(&late, bytes, d.first));
  d.run(d.second, d.a, late);
}
void frees_in_order() {
  TwoStreams d;
  CUdeviceptr late = 0;
  OK(cuMemAllocAsync(&late, bytes, d.first));
  d.run(d.first, d.a, late);
  OK(cuMemFreeAsync(late, d.first));
}

float* pinned_floats() {
  void* memory = nullptr;
  OK(cuMemHostAlloc(&memory, bytes, 0));
  return static_cast<float*>(memory);
}

void pinned_copy_arrives_when_waited_for() {
  TwoStreams d;
  float* pinned = pinned_floats();
  OK(cuMemcpyDtoHAsync_v2(pinned, d.a, bytes, d.first));
  EXPECT(std::isnan(pinned[0]));
  OK(cuEventRecord(d.event, d.first));
  EXPECT(cuEventQuery(d.event) == 600);
  EXPECT(std::isnan(pinned[n - 1]));
  OK(cuEventSynchronize(d.event));
  EXPECT(pinned[0] == d.x[0] && pinned[n - 1] == d.x[n - 1]);
  OK(cuMemFreeHost(pinned));
}
void pinned_there_and_back_on_one_stream() {
  TwoStreams d;
  float* pinned = pinned_floats();
  OK(cuMemcpyDtoHAsync_v2(pinned, d.a, bytes, d.first));
  OK(cuMemcpyHtoDAsync_v2(d.b, pinned, bytes, d.first));
  OK(cuStreamSynchronize(d.first));
  EXPECT(from_device<float>(d.b, n) == d.x);
}
void wrong_pinned_written_too_early() {
  TwoStreams d;
  float* pinned = pinned_floats();
  memcpy(pinned, d.x.data(), bytes);
  OK(cuMemcpyHtoDAsync_v2(d.b, pinned, bytes, d.first));
  pinned[n - 1] += 1.0f;
  cuStreamSynchronize(d.first);
}
void wrong_pinned_on_two_streams() {
  TwoStreams d;
  float* pinned = pinned_floats();
  OK(cuMemcpyDtoHAsync_v2(pinned, d.a, bytes, d.first));
  cuMemcpyHtoDAsync_v2(d.b, pinned, bytes, d.second);
}
void wrong_pinned_freed_in_flight() {
  TwoStreams d;
  float* pinned = pinned_floats();
  OK(cuMemcpyDtoHAsync_v2(pinned, d.a, bytes, d.first));
  cuMemFreeHost(pinned);
}

}  // namespace

const std::vector<Case> order_cases = {
    {"event_orders_two_streams", event_orders_two_streams},
    {"host_orders_two_streams", host_orders_two_streams},
    {"two_streams_may_read", two_streams_may_read},
    {"halves_of_a_buffer_on_two_streams", halves_of_a_buffer_on_two_streams},
    {"frees_in_order", frees_in_order},
    {"pinned_copy_arrives_when_waited_for", pinned_copy_arrives_when_waited_for},
    {"pinned_there_and_back_on_one_stream", pinned_there_and_back_on_one_stream},
    {"wrong_read_before_written", wrong_read_before_written},
    {"wrong_written_while_read", wrong_written_while_read},
    {"wrong_written_while_another_read", wrong_written_while_another_read},
    {"wrong_written_twice", wrong_written_twice},
    {"wrong_event_too_early", wrong_event_too_early},
    {"wrong_default_stream_does_not_wait", wrong_default_stream_does_not_wait},
    {"wrong_freed_while_used", wrong_freed_while_used},
    {"wrong_freed_while_read", wrong_freed_while_read},
    {"wrong_used_before_allocated", wrong_used_before_allocated},
    {"wrong_pinned_written_too_early", wrong_pinned_written_too_early},
    {"wrong_pinned_on_two_streams", wrong_pinned_on_two_streams},
    {"wrong_pinned_freed_in_flight", wrong_pinned_freed_in_flight},
};
