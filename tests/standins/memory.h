// memory.h: device memory, and what may be done with it.
#pragma once
#include <cstddef>
#include <cstdint>

struct Context;

// One device allocation. Its last byte lies within 256 of a page that cannot be touched.
struct Allocation {
  std::uintptr_t begin;
  std::size_t size;
  std::uintptr_t pages;
  std::size_t n_pages;
  Context* context;
  // The operation that made it: all others come after it.
  std::uint32_t operation;
  bool written;
};

enum class Access { read, write, atomic };

// Allocations of all devices lie in one reservation of addresses: an address that is not in it is no device pointer.
constexpr unsigned page_bits = 12;
constexpr std::size_t page_bytes = std::size_t(1) << page_bits;
constexpr std::size_t arena_bytes = std::size_t(64) << 30;
extern std::uintptr_t arena_begin;
inline bool in_arena(std::uintptr_t address) { return address - arena_begin < arena_bytes; }

// Null where no addresses are left. `operation` is the one that allocates.
Allocation* allocate(Context* context, std::size_t size, std::uint32_t operation);
// The allocation that holds `address`, or null.
Allocation* allocation_at(std::uintptr_t address);
// Ends it. The caller has checked that nothing uses it any more.
void release(Allocation* allocation);
// Reports damage before or behind any allocation, or behind one.
void check_red_zones();
void check_red_zones(const Allocation& allocation);
// Bytes that allocations of a context hold, and one of them.
std::size_t bytes_of(const Context* context);
const Allocation* any_of(const Context* context);

// Words of shadow behind each 4 bytes of the arena: who touched them last. See shadow.cpp.
void reserve_shadow();
void forget_shadow(const Allocation& allocation);

// Checks and records that the current operation touches `n_rows` rows of `row_bytes`, `stride` bytes apart.
// `what` names the argument in a report. `optional` is a count of no rows: then any pointer will do.
void touch(Context* context, std::uintptr_t address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride,
           Access access, const char* what);
// The same for the whole of an allocation: nothing may still use it.
void touch_all(const Allocation& allocation, const char* what);

// Does the loads and stores of kernels come through `touch`, word by word?
bool kernels_are_checked();
// The context whose kernel runs; set around a launch.
extern Context* kernel_context;
