#include "order.h"

#include <cstdio>
#include <cstring>
#include <list>
#include <map>
#include <string>

#include "report.h"

Clock host_clock(1, 0);
std::uint32_t current_operation;

namespace {

constexpr std::uint32_t host = 0;

struct Operation {
  std::uint32_t actor, time;
  const char *function, *kernel;
};
// Operation 0 is none: it lies before all others.
std::vector<Operation> operations(1, {host, 0, "", nullptr});
std::uint32_t n_actors = 1;
Clock current_clock;

// A copy between a stream and pinned memory that the host has not waited for.
struct Flight {
  std::uint32_t operation;
  unsigned char* pinned;
  std::size_t bytes;
  // What will arrive; empty for a copy from pinned memory, which `sum` was the sum of.
  std::vector<unsigned char> arrives;
  std::uint64_t sum;
};
std::list<Flight> in_flight;
std::map<const unsigned char*, std::size_t> pinned_blocks;

std::uint64_t checksum(const unsigned char* bytes, std::size_t n) {
  std::uint64_t sum = n;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    std::uint64_t word;
    memcpy(&word, bytes + i, 8);
    sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    sum ^= sum >> 29;
  }
  for (; i < n; ++i) sum = (sum ^ bytes[i]) * 0x9e3779b97f4a7c15u;
  return sum;
}

std::uint32_t time_of(const Clock& clock, std::uint32_t actor) { return actor < clock.size() ? clock[actor] : 0; }

bool seen_by(const Clock& clock, std::uint32_t operation) {
  const Operation& o = operations[operation];
  return o.time <= time_of(clock, o.actor);
}

// Ends a copy: its bytes arrive, or its source is compared.
void land(const Flight& flight) {
  if (!flight.arrives.empty()) {
    memcpy(flight.pinned, flight.arrives.data(), flight.bytes);
  } else if (checksum(flight.pinned, flight.bytes) != flight.sum) {
    violation("the host wrote pinned memory at %p while %s was reading it", static_cast<void*>(flight.pinned),
              describe(flight.operation));
  }
}

// Lands the copies in order before the current one, refuses the others that it would meet.
void clear_way(const unsigned char* pinned, std::size_t bytes, bool writes) {
  for (auto flight = in_flight.begin(); flight != in_flight.end();) {
    const bool apart = flight->pinned + flight->bytes <= pinned || pinned + bytes <= flight->pinned;
    if (apart || (!writes && flight->arrives.empty())) {
      ++flight;
    } else if (comes_before_current(flight->operation)) {
      land(*flight);
      flight = in_flight.erase(flight);
    } else {
      violation("pinned memory at %p is still used by %s", static_cast<const void*>(pinned),
                describe(flight->operation));
    }
  }
}

}  // namespace

std::uint32_t new_actor() { return n_actors++; }

void join(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size(), 0);
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (into[i] < from[i]) into[i] = from[i];
  }
}

std::uint32_t begin_operation(Stream* stream) {
  Clock& clock = stream ? stream->clock : host_clock;
  const std::uint32_t actor = stream ? stream->actor : host;
  if (stream) join(clock, host_clock);
  if (clock.size() <= actor) clock.resize(actor + 1, 0);
  ++clock[actor];
  operations.push_back({actor, clock[actor], current_function, current_kernel});
  current_operation = static_cast<std::uint32_t>(operations.size() - 1);
  current_clock = clock;
  return current_operation;
}

bool comes_before_current(std::uint32_t earlier) { return earlier == current_operation || seen_by(current_clock, earlier); }

bool host_has_seen(const Clock& clock) {
  for (std::size_t i = 0; i < clock.size(); ++i) {
    if (clock[i] > time_of(host_clock, static_cast<std::uint32_t>(i))) return false;
  }
  return true;
}

const char* describe(std::uint32_t operation) {
  static std::string text;
  const Operation& o = operations[operation];
  text = o.function ? o.function : "?";
  if (o.kernel) text += std::string(" of ") + o.kernel;
  text += o.actor == host ? std::string(" by the host") : " on stream " + std::to_string(o.actor);
  return text.c_str();
}

void host_waits_for(const Clock& clock) {
  join(host_clock, clock);
  for (auto flight = in_flight.begin(); flight != in_flight.end();) {
    if (!seen_by(host_clock, flight->operation)) {
      ++flight;
      continue;
    }
    land(*flight);
    flight = in_flight.erase(flight);
  }
}

void pin(void* begin, std::size_t bytes) { pinned_blocks[static_cast<unsigned char*>(begin)] = bytes; }

bool unpin(void* begin) {
  auto block = pinned_blocks.find(static_cast<unsigned char*>(begin));
  if (block == pinned_blocks.end()) return false;
  for (const Flight& flight : in_flight) {
    if (flight.pinned >= block->first && flight.pinned < block->first + block->second) {
      violation("pinned memory at %p is freed while %s uses it", begin, describe(flight.operation));
    }
  }
  pinned_blocks.erase(block);
  return true;
}

bool is_pinned(const void* address, std::size_t bytes) {
  const unsigned char* at = static_cast<const unsigned char*>(address);
  auto block = pinned_blocks.upper_bound(at);
  if (block == pinned_blocks.begin()) return false;
  --block;
  if (at >= block->first + block->second) return false;
  if (at + bytes > block->first + block->second) {
    violation("%zu bytes at %p leave pinned memory of %zu bytes at %p", bytes, address, block->second,
              static_cast<const void*>(block->first));
  }
  return true;
}

void copy_to_pinned(void* pinned, const void* device, std::size_t bytes) {
  unsigned char* to = static_cast<unsigned char*>(pinned);
  clear_way(to, bytes, true);
  const unsigned char* from = static_cast<const unsigned char*>(device);
  in_flight.push_back({current_operation, to, bytes, std::vector<unsigned char>(from, from + bytes), 0});
  memset(to, 0xff, bytes);
}

void copy_from_pinned(const void* pinned, std::size_t bytes) {
  unsigned char* from = static_cast<unsigned char*>(const_cast<void*>(pinned));
  clear_way(from, bytes, false);
  in_flight.push_back({current_operation, from, bytes, {}, checksum(from, bytes)});
}
