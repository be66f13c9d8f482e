// order.h: which operations a program has put in order, by vector clocks.
//
// Actors are the host (all its threads are one) and streams. An actor's clock says, for each actor, how many of its
// operations are known to lie before whatever this actor does next.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

using Clock = std::vector<std::uint32_t>;

struct Context;

struct Stream {
  Context* context;
  std::uint32_t actor;
  // Waits for, and is waited for by, the default stream.
  bool blocking;
  Clock clock;
};

struct Event {
  Context* context;
  bool timing;
  bool recorded = false;
  double seconds = 0;
  Clock clock;
};

extern Clock host_clock;
// The operation that runs: it is what `touch` records.
extern std::uint32_t current_operation;

std::uint32_t new_actor();
void join(Clock& into, const Clock& from);

// Begins an operation of a stream, or of the host (null). It comes after all that the host has seen so far.
std::uint32_t begin_operation(Stream* stream);
// Is `earlier` known to be over when the current operation starts?
bool comes_before_current(std::uint32_t earlier);
bool host_has_seen(const Clock& clock);
// "launch of path_f32 on stream 2".
const char* describe(std::uint32_t operation);

// The host has waited for everything in `clock`: copies into pinned memory arrive.
void host_waits_for(const Clock& clock);

// Pinned memory.
void pin(void* begin, std::size_t bytes);
bool unpin(void* begin);
bool is_pinned(const void* address, std::size_t bytes);
// A copy by the current operation between device memory and pinned memory. From device: `device` is what will be
// there; until the host has waited, the memory holds NaN.
void copy_to_pinned(void* pinned, const void* device, std::size_t bytes);
void copy_from_pinned(const void* pinned, std::size_t bytes);
