// memory.cpp: allocations inside one reservation of addresses, with red zones and guard pages.
#include "memory.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "report.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define NOT_FOR_ASAN __attribute__((no_sanitize("address")))
#else
#define NOT_FOR_ASAN
#define __asan_poison_memory_region(address, size) static_cast<void>(size)
#define __asan_unpoison_memory_region(address, size) static_cast<void>(size)
#endif

std::uintptr_t arena_begin;
Context* kernel_context;

namespace {

constexpr unsigned char red_zone = 0xa5;
// NaN, and -1: what memory holds that nobody has written.
constexpr unsigned char never_written = 0xff;
constexpr std::size_t device_alignment = 256;

// By first page. Pages of ended allocations are used again only when all others have been.
std::map<std::uintptr_t, Allocation> live;
std::uintptr_t next_page;

struct sigaction earlier_action;

void on_fault(int signal, siginfo_t* info, void* context) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (in_arena(address)) {
    violation("touches device address %p, which no live allocation holds", info->si_addr);
  }
  if (earlier_action.sa_flags & SA_SIGINFO) {
    earlier_action.sa_sigaction(signal, info, context);
  } else if (earlier_action.sa_handler != SIG_DFL && earlier_action.sa_handler != SIG_IGN) {
    earlier_action.sa_handler(signal);
  } else {
    sigaction(SIGSEGV, &earlier_action, nullptr);
  }
}

void reserve_arena() {
  if (arena_begin) return;
  void* memory = mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) violation("no address space for %zu bytes of device memory", arena_bytes);
  arena_begin = reinterpret_cast<std::uintptr_t>(memory);
  next_page = arena_begin;
  reserve_shadow();
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &earlier_action);
}

// First page of `bytes` that nobody has, or 0. Behind the newest first, then from the start.
std::uintptr_t find_pages(std::size_t bytes) {
  for (std::uintptr_t from : {next_page, arena_begin}) {
    std::uintptr_t begin = from;
    for (auto entry = live.lower_bound(from); entry != live.end(); ++entry) {
      if (entry->first >= begin + bytes) break;
      begin = entry->first + entry->second.n_pages * page_bytes + page_bytes;
    }
    if (begin + bytes <= arena_begin + arena_bytes) return begin;
  }
  return 0;
}

NOT_FOR_ASAN bool intact(std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t at = begin; at < end; ++at) {
    if (*reinterpret_cast<const volatile unsigned char*>(at) != red_zone) return false;
  }
  return true;
}

}  // namespace

Allocation* allocate(Context* context, std::size_t size, std::uint32_t operation) {
  reserve_arena();
  const std::size_t n_pages = (size + page_bytes - 1) / page_bytes;
  const std::size_t bytes = n_pages * page_bytes;
  const std::uintptr_t pages = find_pages(bytes + page_bytes);
  if (!pages) return nullptr;
  void* memory = reinterpret_cast<void*>(pages);
  if (mprotect(memory, bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
  next_page = pages + bytes + page_bytes;
  const std::uintptr_t begin = pages + (bytes - size) / device_alignment * device_alignment;
  __asan_unpoison_memory_region(memory, bytes);
  memset(memory, red_zone, begin - pages);
  memset(reinterpret_cast<void*>(begin), never_written, size);
  memset(reinterpret_cast<void*>(begin + size), red_zone, pages + bytes - begin - size);
  __asan_poison_memory_region(memory, begin - pages);
  __asan_poison_memory_region(reinterpret_cast<void*>(begin + size), pages + bytes - begin - size);
  return &(live[pages] = {begin, size, pages, n_pages, context, operation, false});
}

Allocation* allocation_at(std::uintptr_t address) {
  auto entry = live.upper_bound(address);
  if (entry == live.begin()) return nullptr;
  Allocation& allocation = (--entry)->second;
  return address >= allocation.begin && address - allocation.begin < allocation.size ? &allocation : nullptr;
}

void release(Allocation* allocation) {
  check_red_zones(*allocation);
  forget_shadow(*allocation);
  void* memory = reinterpret_cast<void*>(allocation->pages);
  const std::size_t bytes = allocation->n_pages * page_bytes;
  madvise(memory, bytes, MADV_DONTNEED);
  mprotect(memory, bytes, PROT_NONE);
  live.erase(allocation->pages);
}

void check_red_zones(const Allocation& a) {
  if (!intact(a.pages, a.begin)) {
    violation("red zone before the %zu bytes at %p is overwritten", a.size, reinterpret_cast<void*>(a.begin));
  }
  if (!intact(a.begin + a.size, a.pages + a.n_pages * page_bytes)) {
    violation("red zone behind the %zu bytes at %p is overwritten", a.size, reinterpret_cast<void*>(a.begin));
  }
}

void check_red_zones() {
  for (const auto& entry : live) check_red_zones(entry.second);
}

std::size_t bytes_of(const Context* context) {
  std::size_t bytes = 0;
  for (const auto& entry : live) {
    if (entry.second.context == context) bytes += (entry.second.size + 511) / 512 * 512;
  }
  return bytes;
}

const Allocation* any_of(const Context* context) {
  for (const auto& entry : live) {
    if (entry.second.context == context) return &entry.second;
  }
  return nullptr;
}
