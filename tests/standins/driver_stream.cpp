// driver_stream.cpp: streams and events.
#include <chrono>

#include "driver.h"

namespace {

constexpr unsigned non_blocking = 1, disable_timing = 2;

Event* event_of(void* handle) {
  return current_context && holds(current_context->events, handle) ? static_cast<Event*>(handle) : nullptr;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A query that finds unfinished work says so once: the next one finds it done.
CUresult query(const Clock& clock) {
  static Clock asked;
  if (host_has_seen(clock)) return CUDA_SUCCESS;
  if (asked != clock) {
    asked = clock;
    return CUDA_ERROR_NOT_READY;
  }
  host_waits_for(clock);
  return CUDA_SUCCESS;
}

CUresult create(void** handle, unsigned flags) {
  NEEDS_CONTEXT;
  Stream* stream = new Stream{current_context, new_actor(), (flags & non_blocking) == 0, {}};
  current_context->streams.push_back(stream);
  *handle = stream;
  return CUDA_SUCCESS;
}

}  // namespace

Stream* stream_of(void* handle) {
  if (!current_context) return nullptr;
  const std::uintptr_t number = reinterpret_cast<std::uintptr_t>(handle);
  if (number <= 1) return current_context->default_stream;
  if (number == 2) violation("CU_STREAM_PER_THREAD is not in the stand-in");
  return holds(current_context->streams, handle) ? static_cast<Stream*>(handle) : nullptr;
}

void begin_on(Stream* stream) {
  Context& context = *stream->context;
  if (stream == context.default_stream) {
    for (const Stream* other : context.streams) {
      if (other->blocking) join(stream->clock, other->clock);
    }
  } else if (stream->blocking) {
    join(stream->clock, context.default_stream->clock);
  }
  begin_operation(stream);
}

void wait_for(Stream* stream) {
  if (!kernels_are_checked()) check_red_zones();
  if (stream == stream->context->default_stream) begin_on(stream);
  host_waits_for(stream->clock);
}

EXPORT CUresult cuStreamCreate(void** handle, unsigned flags) {
  Call call("cuStreamCreate");
  return create(handle, flags);
}

EXPORT CUresult cuStreamCreateWithPriority(void** handle, unsigned flags, int) {
  Call call("cuStreamCreateWithPriority");
  return create(handle, flags);
}

EXPORT CUresult cuStreamDestroy_v2(void* handle) {
  Call call("cuStreamDestroy_v2");
  NEEDS_CONTEXT;
  if (!take_out(current_context->streams, handle)) return CUDA_ERROR_INVALID_HANDLE;
  delete static_cast<Stream*>(handle);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamSynchronize(void* handle) {
  Call call("cuStreamSynchronize");
  NEEDS_CONTEXT;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  wait_for(stream);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamQuery(void* handle) {
  Call call("cuStreamQuery");
  NEEDS_CONTEXT;
  Stream* stream = stream_of(handle);
  return stream ? query(stream->clock) : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
  Call call("cuStreamWaitEvent");
  NEEDS_CONTEXT;
  Stream* stream = stream_of(handle);
  Event* event = event_of(event_handle);
  if (!stream || !event) return CUDA_ERROR_INVALID_HANDLE;
  join(stream->clock, event->clock);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventCreate(void** handle, unsigned flags) {
  Call call("cuEventCreate");
  NEEDS_CONTEXT;
  Event* event = new Event{current_context, (flags & disable_timing) == 0, false, 0, {}};
  current_context->events.push_back(event);
  *handle = event;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventDestroy_v2(void* handle) {
  Call call("cuEventDestroy_v2");
  NEEDS_CONTEXT;
  if (!take_out(current_context->events, handle)) return CUDA_ERROR_INVALID_HANDLE;
  delete static_cast<Event*>(handle);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventRecord(void* handle, void* stream_handle) {
  Call call("cuEventRecord");
  NEEDS_CONTEXT;
  Stream* stream = stream_of(stream_handle);
  Event* event = event_of(handle);
  if (!stream || !event) return CUDA_ERROR_INVALID_HANDLE;
  begin_on(stream);
  event->clock = stream->clock;
  event->recorded = true;
  event->seconds = seconds_now();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventSynchronize(void* handle) {
  Call call("cuEventSynchronize");
  NEEDS_CONTEXT;
  Event* event = event_of(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  if (!kernels_are_checked()) check_red_zones();
  host_waits_for(event->clock);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventQuery(void* handle) {
  Call call("cuEventQuery");
  NEEDS_CONTEXT;
  Event* event = event_of(handle);
  return event ? query(event->clock) : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult elapsed(float* milliseconds, void* start_handle, void* end_handle) {
  NEEDS_CONTEXT;
  Event* start = event_of(start_handle);
  Event* end = event_of(end_handle);
  if (!start || !end || !start->recorded || !end->recorded) return CUDA_ERROR_INVALID_HANDLE;
  if (!start->timing || !end->timing) return CUDA_ERROR_INVALID_HANDLE;
  if (!host_has_seen(start->clock) || !host_has_seen(end->clock)) return CUDA_ERROR_NOT_READY;
  *milliseconds = static_cast<float>((end->seconds - start->seconds) * 1e3);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  Call call("cuEventElapsedTime");
  return elapsed(milliseconds, start, end);
}

EXPORT CUresult cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
  Call call("cuEventElapsedTime_v2");
  return elapsed(milliseconds, start, end);
}
