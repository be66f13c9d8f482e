// emulator.cpp: the threads of a block as fibers, their barriers and exchanges.
//
// A fiber runs until it waits or returns. When none can run, the barriers that are complete are opened; when none
// is, the block can never end, which is reported. A fiber's stack goes to the next thread once its thread has
// returned, so a kernel without barriers needs one stack.
#include "emulator.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../kernels/cuda_cpu.h"
#include "report.h"

#if !defined(__x86_64__)
#error "the emulator switches stacks in x86-64 assembly"
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Saves what a call must keep on the old stack, leaves its top in *from, goes on where `to` was left.
extern "C" void cuda_cpu_switch(void** from, void* to);
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".hidden cuda_cpu_switch\n"
    ".globl cuda_cpu_switch\n"
    ".type cuda_cpu_switch,@function\n"
    "cuda_cpu_switch:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n"
    "  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"
    ".size cuda_cpu_switch,.-cuda_cpu_switch\n");

// The variables that kernels see as constants.
namespace seen {
extern uint3 thread_index __asm__("cuda_cpu_thread_index");
extern uint3 block_index __asm__("cuda_cpu_block_index");
extern uint3 block_size __asm__("cuda_cpu_block_size");
extern uint3 grid_size __asm__("cuda_cpu_grid_size");
extern unsigned char* dynamic_shared __asm__("cuda_cpu_dynamic_shared");
uint3 thread_index, block_index, block_size, grid_size;
unsigned char* dynamic_shared;
}  // namespace seen

Position position;
std::uintptr_t dynamic_begin, dynamic_end, stacks_begin, stacks_end, arguments_begin, arguments_end;

namespace {

using cuda_cpu::Warp;

constexpr unsigned warp_lanes = 32, max_threads = 1024;
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t stack_bytes = 256 << 10;
#else
constexpr std::size_t stack_bytes = 64 << 10;
#endif
constexpr std::size_t guard_bytes = 4096;
// What shared memory holds before it is written: NaN, and -1.
constexpr unsigned char never_written = 0xff;

enum class State { fresh, ready, at_block, at_warp, returned };

struct Thread {
  State state;
  void* top;
  void* fake_stack;
  unsigned stack;
  std::uint32_t block_epoch, warp_epoch;
  int line;
  bool predicate;
  Warp kind;
  unsigned mask, source;
  std::uint64_t value, result;
};

struct Block {
  std::vector<Thread> threads;
  unsigned running = 0;
  void* scheduler = nullptr;
  void* scheduler_fake = nullptr;
  const void* scheduler_bottom = nullptr;
  std::size_t scheduler_size = 0;
  Launch launch = {};
  std::vector<unsigned> free_stacks;
};
Block block;

unsigned char* stack_of(unsigned index) {
  return reinterpret_cast<unsigned char*>(stacks_begin) + index * (stack_bytes + guard_bytes) + guard_bytes;
}

void reserve_stacks() {
  if (stacks_begin) return;
  const std::size_t bytes = max_threads * (stack_bytes + guard_bytes);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) violation("no address space for the stacks of %u threads", max_threads);
  stacks_begin = reinterpret_cast<std::uintptr_t>(memory);
  stacks_end = stacks_begin + bytes;
  for (unsigned i = 0; i < max_threads; ++i) {
    mprotect(stack_of(i) - guard_bytes, guard_bytes, PROT_NONE);
    block.free_stacks.push_back(max_threads - 1 - i);
  }
}

void to_scheduler(bool for_good) {
  Thread& me = block.threads[block.running];
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(for_good ? nullptr : &me.fake_stack, block.scheduler_bottom, block.scheduler_size);
#endif
  cuda_cpu_switch(&me.top, block.scheduler);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(me.fake_stack, &block.scheduler_bottom, &block.scheduler_size);
#endif
  (void)for_good;
}

#ifdef __SANITIZE_ADDRESS__
__attribute__((no_sanitize("address")))
#endif
void enter() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_bottom, &block.scheduler_size);
#endif
  block.launch.thread(block.launch.arguments);
  block.threads[block.running].state = State::returned;
  to_scheduler(true);
}

void prepare(Thread& thread) {
  thread.stack = block.free_stacks.back();
  block.free_stacks.pop_back();
  unsigned char* stack = stack_of(thread.stack);
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack, stack_bytes);
#endif
  void** top = reinterpret_cast<void**>(stack + stack_bytes);
  *--top = nullptr;  // so that `enter` starts as after a call
  *--top = reinterpret_cast<void*>(&enter);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  thread.top = top;
  thread.fake_stack = nullptr;
}

void resume(unsigned index) {
  Thread& thread = block.threads[index];
  if (thread.state == State::fresh) prepare(thread);
  thread.state = State::ready;
  block.running = index;
  const uint3 size = seen::block_size;
  seen::thread_index = {index % size.x, index / size.x % size.y, index / (size.x * size.y)};
  position.thread = index;
  position.block_epoch = thread.block_epoch;
  position.warp_epoch = thread.warp_epoch;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&block.scheduler_fake, stack_of(thread.stack), stack_bytes);
#endif
  cuda_cpu_switch(&block.scheduler, thread.top);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(block.scheduler_fake, nullptr, nullptr);
#endif
  if (thread.state == State::returned) block.free_stacks.push_back(thread.stack);
}

// Opens the barrier of the whole block if every thread is there.
bool open_block_barrier() {
  const Thread* first = nullptr;
  unsigned waiting = 0, returned = 0, predicates = 0;
  for (const Thread& thread : block.threads) {
    returned += thread.state == State::returned;
    if (thread.state != State::at_block) continue;
    if (!first) first = &thread;
    ++waiting;
    predicates += thread.predicate;
    if (thread.line != first->line) {
      violation("divergent barrier in block (%u,%u,%u): thread %u waits at line %d, thread %u at line %d",
                seen::block_index.x, seen::block_index.y, seen::block_index.z,
                static_cast<unsigned>(first - block.threads.data()), first->line,
                static_cast<unsigned>(&thread - block.threads.data()), thread.line);
    }
  }
  if (waiting == 0 || waiting + returned < block.threads.size()) return false;
  if (returned > 0) {
    violation("divergent barrier in block (%u,%u,%u): %u threads wait at line %d, %u have returned",
              seen::block_index.x, seen::block_index.y, seen::block_index.z, waiting, first->line, returned);
  }
  for (Thread& thread : block.threads) {
    thread.state = State::ready;
    thread.result = predicates;
    ++thread.block_epoch;
  }
  return true;
}

// What every lane of an open exchange gets.
void exchange(Thread* lanes, unsigned n_lanes, unsigned mask, Warp kind) {
  unsigned ballot = 0;
  for (unsigned l = 0; l < n_lanes; ++l) {
    if (mask >> l & 1 && lanes[l].value) ballot |= 1u << l;
  }
  for (unsigned l = 0; l < n_lanes; ++l) {
    if (!(mask >> l & 1)) continue;
    Thread& lane = lanes[l];
    lane.state = State::ready;
    lane.result = ballot;
    lane.warp_epoch += kind == Warp::sync;
    if (kind != Warp::shuffle) continue;
    if (lane.source >= n_lanes || !(mask >> lane.source & 1)) {
      violation("line %d: lane %u reads lane %u, which takes no part in the shuffle (mask %08x, %u lanes)", lane.line,
                l, lane.source, mask, n_lanes);
    }
    lane.result = lanes[lane.source].value;
  }
}

// Opens the exchange that `first` waits for, if all its lanes are there.
bool open_exchange(Thread* lanes, unsigned n_lanes, unsigned first) {
  const Thread& asked = lanes[first];
  const unsigned mask = asked.mask;
  if (!(mask >> first & 1)) violation("line %d: lane %u is not in its own mask %08x", asked.line, first, mask);
  for (unsigned l = 0; l < n_lanes; ++l) {
    if (!(mask >> l & 1)) continue;
    const Thread& lane = lanes[l];
    if (lane.state == State::returned) {
      violation("divergent warp: lane %u waits at line %d for lane %u, which has returned (mask %08x)", first,
                asked.line, l, mask);
    }
    if (lane.state != State::at_warp || lane.mask != mask) return false;
    if (lane.kind != asked.kind || lane.line != asked.line) {
      violation("divergent warp: lane %u waits at line %d, lane %u at line %d", first, asked.line, l, lane.line);
    }
  }
  exchange(lanes, n_lanes, mask, asked.kind);
  return true;
}

bool open_warps() {
  bool opened = false;
  const unsigned n = static_cast<unsigned>(block.threads.size());
  for (unsigned begin = 0; begin < n; begin += warp_lanes) {
    Thread* lanes = &block.threads[begin];
    const unsigned n_lanes = n - begin < warp_lanes ? n - begin : warp_lanes;
    for (unsigned l = 0; l < n_lanes; ++l) {
      if (lanes[l].state == State::at_warp) opened |= open_exchange(lanes, n_lanes, l);
    }
  }
  return opened;
}

[[noreturn]] void report_deadlock() {
  for (const Thread& thread : block.threads) {
    if (thread.state == State::at_warp) {
      violation("divergent warp: thread %u waits for ever at line %d (mask %08x)",
                static_cast<unsigned>(&thread - block.threads.data()), thread.line, thread.mask);
    }
  }
  violation("the block cannot go on");
}

void run_block() {
  const unsigned n = static_cast<unsigned>(block.threads.size());
  for (Thread& thread : block.threads) {
    thread.state = State::fresh;
    thread.block_epoch = thread.warp_epoch = 0;
  }
  for (;;) {
    bool ran = false, done = true;
    for (unsigned i = 0; i < n; ++i) {
      const State state = block.threads[i].state;
      if (state == State::fresh || state == State::ready) {
        resume(i);
        ran = true;
      }
      done &= block.threads[i].state == State::returned;
    }
    if (done) return;
    const bool opened = open_warps() | open_block_barrier();
    if (!ran && !opened) report_deadlock();
  }
}

#ifdef __SANITIZE_ADDRESS__
__attribute__((no_sanitize("address")))
#endif
void forget(unsigned char* begin, unsigned char* end) {
  // Red zones between shared arrays are overwritten too: not through memset, which AddressSanitizer would refuse.
  for (volatile unsigned char* byte = begin; byte < end; ++byte) *byte = never_written;
}

}  // namespace

unsigned cuda_cpu::block_barrier(bool predicate, int line) {
  Thread& me = block.threads[block.running];
  me.state = State::at_block;
  me.predicate = predicate;
  me.line = line;
  to_scheduler(false);
  return static_cast<unsigned>(me.result);
}

std::uint64_t cuda_cpu::warp_exchange(Warp kind, unsigned mask, std::uint64_t value, unsigned source, int line) {
  Thread& me = block.threads[block.running];
  me.state = State::at_warp;
  me.kind = kind;
  me.mask = mask;
  me.value = value;
  me.source = source;
  me.line = line;
  to_scheduler(false);
  return me.result;
}

unsigned cuda_cpu::lane() { return block.running % warp_lanes; }

void run_grid(const Grid& grid, const Launch& launch) {
  reserve_stacks();
  block.threads.resize(static_cast<std::size_t>(grid.block[0]) * grid.block[1] * grid.block[2]);
  block.launch = launch;
  arguments_begin = reinterpret_cast<std::uintptr_t>(launch.arguments);
  arguments_end = arguments_begin + launch.argument_bytes;
  // Its own heap block, so that AddressSanitizer knows its end; 256 is what a card aligns it to at least.
  void* dynamic = nullptr;
  if (posix_memalign(&dynamic, 256, grid.dynamic_bytes ? grid.dynamic_bytes : 1) != 0) violation("host out of memory");
  seen::dynamic_shared = static_cast<unsigned char*>(dynamic);
  dynamic_begin = reinterpret_cast<std::uintptr_t>(dynamic);
  dynamic_end = dynamic_begin + grid.dynamic_bytes;
  seen::block_size = {grid.block[0], grid.block[1], grid.block[2]};
  seen::grid_size = {grid.grid[0], grid.grid[1], grid.grid[2]};
  position = {};
  for (unsigned z = 0; z < grid.grid[2]; ++z) {
    for (unsigned y = 0; y < grid.grid[1]; ++y) {
      for (unsigned x = 0; x < grid.grid[0]; ++x, ++position.block) {
        seen::block_index = {x, y, z};
        forget(grid.shared_begin, grid.shared_end);
        if (grid.dynamic_bytes) memset(dynamic, never_written, grid.dynamic_bytes);
        run_block();
      }
    }
  }
  free(dynamic);
  dynamic_begin = dynamic_end = 0;
}
