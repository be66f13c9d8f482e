// shadow.cpp: who touched each word of device and shared memory last.
//
// A word is 4 bytes. For each the shadow keeps the operation that wrote it and two that read it, in which thread of
// which block that was, and which of its bytes were ever written. Kernels compiled with -fsanitize=thread call
// __tsan_read4 and so on before each access; these functions are ours, no sanitizer library is linked.
#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "emulator.h"
#include "memory.h"
#include "order.h"
#include "report.h"

namespace {

void refuse(const Allocation* allocation, std::uintptr_t address, const char* what, const char* reason) {
  if (allocation) {
    violation("%s: %p, byte %zu of the %zu bytes at %p: %s", what, reinterpret_cast<void*>(address),
              static_cast<std::size_t>(address - allocation->begin), allocation->size,
              reinterpret_cast<void*>(allocation->begin), reason);
  }
  violation("%s: %p: %s", what, reinterpret_cast<void*>(address), reason);
}

const char* why_no_pointer(std::uintptr_t address) {
  if (in_arena(address)) return "lies in no live device allocation";
  return address ? "is no device pointer" : "is null";
}

}  // namespace

#ifdef STANDIN_CHECKED

namespace {

// What identifies an access within its operation: block 22 bits, thread 10, epochs 16 and 12, marks 4.
using Key = std::uint64_t;
// Of a word read more than once since it was written: by several lanes of a warp with no __syncwarp between, several
// warps with no barrier between, several blocks. Of a word written: by an atomic.
constexpr Key several_lanes = 1, several_warps = 2, several_blocks = 4, by_atomic = 8, marks = 15;

Key key_of(const Position& p) {
  return (Key(p.block) << 42) | (Key(p.thread & 1023) << 32) | (Key(p.block_epoch & 0xffff) << 16) |
         (Key(p.warp_epoch & 0xfff) << 4);
}
bool same_block(Key a, Key b) { return (a ^ b) >> 42 == 0; }
bool same_warp(Key a, Key b) { return (a ^ b) >> 37 == 0; }
bool same_thread(Key a, Key b) { return (a ^ b) >> 32 == 0; }
bool same_block_epoch(Key a, Key b) { return (a ^ b) >> 16 << 48 == 0; }
bool same_warp_epoch(Key a, Key b) { return ((a ^ b) & 0xfff0) == 0; }

// Do barriers lie between an access with key `a` and a later one with key `b`?
bool ordered(Key a, Key b) {
  if (!same_block(a, b)) return false;
  return same_thread(a, b) || !same_block_epoch(a, b) || (same_warp(a, b) && !same_warp_epoch(a, b));
}

// The same for all reads that `reads` stands for.
bool reads_ordered(Key reads, Key writer) {
  if (reads & several_blocks || !same_block(reads, writer)) return false;
  if (!same_block_epoch(reads, writer)) return true;
  if (reads & several_warps || !same_warp(reads, writer)) return false;
  if (!same_warp_epoch(reads, writer)) return true;
  return !(reads & several_lanes) && same_thread(reads, writer);
}

// `reads` with one more read.
Key with_read(Key reads, Key reader) {
  if (reads & several_blocks || !same_block(reads, reader)) return reader | several_blocks;
  if (!same_block_epoch(reads, reader)) return reader;
  if (reads & several_warps || !same_warp(reads, reader)) return reader | several_warps;
  if (!same_warp_epoch(reads, reader)) return reader;
  return reader | (reads & several_lanes) | (same_thread(reads, reader) ? 0 : several_lanes);
}

struct Word {
  std::uint32_t writer, readers[2];
  std::uint8_t bytes_written;
  Key written, read;
};

Word* device_words;
constexpr std::size_t n_device_words = arena_bytes / 4;

// Shared memory is the emulator's own: `writer` and `readers` count blocks there.
Word* shared_words;
constexpr std::size_t max_shared_words = 1 << 18;
std::uint32_t shared_generation;
Position last_position;

// What a kernel's report can say: the place of the two threads.
[[noreturn]] void race(std::uintptr_t address, const Allocation* allocation, Key earlier, const char* now,
                       const char* then) {
  static char text[200], others[60];
  snprintf(others, sizeof others, "block %u thread %u", static_cast<unsigned>(earlier >> 42),
           static_cast<unsigned>(earlier >> 32 & 1023));
  const bool several = earlier & (several_lanes | several_warps | several_blocks);
  snprintf(text, sizeof text, "race: %s by block %u thread %u, and no barrier since %s %s it", now, position.block,
           position.thread, several ? "several threads" : others, then);
  refuse(allocation, address, "kernel", text);
  __builtin_unreachable();
}

void check_race(const Word& word, Access access, Key me, std::uintptr_t address, const Allocation* allocation,
                bool wrote_before, bool read_before) {
  if (wrote_before && !ordered(word.written, me) && !(access == Access::atomic && word.written & by_atomic)) {
    race(address, allocation, word.written, access == Access::read ? "read" : "written", "wrote");
  }
  if (access != Access::read && read_before && !reads_ordered(word.read, me)) {
    race(address, allocation, word.read, "written", "read");
  }
}

// The operation that wrote or read the word before has to lie before this one.
void check_order(std::uint32_t earlier, std::uintptr_t address, const Allocation* allocation, const char* what) {
  static std::uint32_t known_earlier, known_current;
  if (earlier == known_earlier && current_operation == known_current) return;
  if (!comes_before_current(earlier)) {
    static char text[200];
    snprintf(text, sizeof text, "no event or synchronisation orders this after %s", describe(earlier));
    refuse(allocation, address, what, text);
  }
  known_earlier = earlier;
  known_current = current_operation;
}

void note_reader(Word& word, std::uint32_t now) {
  if (word.readers[0] == now) return;
  if (word.readers[0] != 0 && !comes_before_current(word.readers[0])) word.readers[1] = word.readers[0];
  word.readers[0] = now;
}

void device_word(std::size_t index, unsigned bytes, Access access, bool in_kernel, Key me, const Allocation& a,
                 const char* what) {
  Word& word = device_words[index];
  const std::uintptr_t address = arena_begin + 4 * index;
  const std::uint32_t now = current_operation;
  if (access != Access::write && (word.bytes_written & bytes) != bytes) {
    refuse(&a, address, what, "reads memory that was never written");
  }
  check_order(word.writer ? word.writer : a.operation, address, &a, what);
  if (access != Access::read) {
    check_order(word.readers[0], address, &a, what);
    check_order(word.readers[1], address, &a, what);
  }
  if (in_kernel) check_race(word, access, me, address, &a, word.writer == now, word.readers[0] == now);
  if (access == Access::read) {
    const bool first = word.readers[0] != now;
    note_reader(word, now);
    word.read = first ? me : with_read(word.read, me);
    return;
  }
  word.bytes_written |= bytes;
  word.writer = now;
  word.written = me | (access == Access::atomic ? by_atomic : 0);
  word.readers[0] = word.readers[1] = 0;
}

// Calls `each(index of the word, its bytes as bits)` for the words of a range.
template <class F>
void for_words(std::uintptr_t offset, std::size_t size, F each) {
  const std::uintptr_t end = offset + size;
  while (offset < end) {
    const unsigned first = offset % 4;
    const unsigned n = end - offset < 4 - first ? static_cast<unsigned>(end - offset) : 4 - first;
    each(offset / 4, ((1u << n) - 1) << first);
    offset += n;
  }
}

void shared_access(std::uintptr_t offset, unsigned size, Access access) {
  const Key me = key_of(position);
  for_words(offset, size, [&](std::size_t index, unsigned bytes) {
    if (index >= max_shared_words) violation("shared memory over 1 MiB");
    Word& word = shared_words[index];
    const std::uint32_t now = shared_generation;
    if (word.readers[1] != now) word = {0, {0, now}, 0, 0, 0};  // the first of this block
    if (access != Access::write && (word.bytes_written & bytes) != bytes) {
      violation("shared memory, byte %zu: read by block %u thread %u, was never written", 4 * index, position.block,
                position.thread);
    }
    if (bytes == 15) check_race(word, access, me, 4 * index, nullptr, word.writer == now, word.readers[0] == now);
    if (access == Access::read) {
      word.read = word.readers[0] == now ? with_read(word.read, me) : me;
      word.readers[0] = now;
    } else {
      word.bytes_written |= bytes;
      word.writer = now;
      word.written = me | (access == Access::atomic ? by_atomic : 0);
      word.readers[0] = 0;
    }
  });
}

}  // namespace

std::uintptr_t static_shared_begin, static_shared_end;

extern "C" {
extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
}

namespace {

bool own_image(std::uintptr_t address) {
  return address >= reinterpret_cast<std::uintptr_t>(__ehdr_start) && address < reinterpret_cast<std::uintptr_t>(_end);
}

void kernel_access(std::uintptr_t address, unsigned size, Access access) {
  if (!kernel_context) return;
  if (in_arena(address)) {
    static Allocation* known;
    static std::uint32_t known_at;
    if (known_at != current_operation || address - known->begin >= known->size) {
      known = allocation_at(address);
      known_at = known ? current_operation : 0;
    }
    if (!known) refuse(nullptr, address, "kernel", why_no_pointer(address));
    if (address + size > known->begin + known->size) refuse(known, address, "kernel", "leaves its allocation");
    if (known->context != kernel_context) refuse(known, address, "kernel", "belongs to another context");
    const Key me = key_of(position);
    const std::uintptr_t offset = address - arena_begin;
    for_words(offset, size, [&](std::size_t index, unsigned bytes) {
      device_word(index, bytes, access, bytes == 15, me, *known, "kernel");
    });
  } else if (address - static_shared_begin < static_shared_end - static_shared_begin) {
    if (last_position.block != position.block) ++shared_generation;
    last_position = position;
    shared_access(address - static_shared_begin, size, access);
  } else if (address - dynamic_begin < dynamic_end - dynamic_begin) {
    if (last_position.block != position.block) ++shared_generation;
    last_position = position;
    if (address + size > dynamic_end) violation("leaves its dynamic shared memory");
    const std::size_t behind = (static_shared_end - static_shared_begin + 63) / 64 * 64;
    shared_access(behind + (address - dynamic_begin), size, access);
  } else if (address - stacks_begin >= stacks_end - stacks_begin &&
             address - arguments_begin >= arguments_end - arguments_begin && !own_image(address)) {
    violation("block %u thread %u touches host memory at %p, or leaves its shared memory", position.block,
              position.thread, reinterpret_cast<void*>(address));
  }
}

}  // namespace

bool kernels_are_checked() { return true; }

void begin_shared(unsigned char* begin, unsigned char* end) {
  static_shared_begin = reinterpret_cast<std::uintptr_t>(begin);
  static_shared_end = reinterpret_cast<std::uintptr_t>(end);
  ++shared_generation;
  last_position = {};
}

void reserve_shadow() {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* device = mmap(nullptr, n_device_words * sizeof(Word), PROT_READ | PROT_WRITE, flags, -1, 0);
  void* shared = mmap(nullptr, max_shared_words * sizeof(Word), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (device == MAP_FAILED || shared == MAP_FAILED) violation("no address space for the shadow of device memory");
  device_words = static_cast<Word*>(device);
  shared_words = static_cast<Word*>(shared);
}

void forget_shadow(const Allocation& allocation) {
  // Pages hold one allocation's words alone: device pages of 4 KiB have 32 KiB of shadow.
  Word* words = device_words + (allocation.pages - arena_begin) / 4;
  madvise(words, allocation.n_pages * page_bytes / 4 * sizeof(Word), MADV_DONTNEED);
}

void record(const Allocation& a, std::uintptr_t address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride,
            Access access, const char* what) {
  for (std::size_t row = 0; row < n_rows; ++row) {
    for_words(address - arena_begin + row * stride, row_bytes, [&](std::size_t index, unsigned bytes) {
      device_word(index, bytes, access, false, 0, a, what);
    });
  }
}

void touch_all(const Allocation& a, const char* what) {
  check_order(a.operation, a.begin, &a, what);
  // Words that nobody touched have no shadow pages: do not make them.
  const std::size_t first = (a.begin - arena_begin) / 4, last = (a.begin - arena_begin + a.size + 3) / 4;
  constexpr std::size_t step = page_bytes / sizeof(Word);
  std::vector<unsigned char> resident;
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(device_words + first) / page_bytes * page_bytes;
  const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(device_words + last);
  resident.resize((end - begin + page_bytes - 1) / page_bytes);
  mincore(reinterpret_cast<void*>(begin), end - begin, resident.data());
  static_assert(page_bytes % sizeof(Word) == 0, "words do not cross pages");
  for (std::size_t page = 0; page < resident.size(); ++page) {
    if (!resident[page]) continue;
    const Word* words = reinterpret_cast<const Word*>(begin + page * page_bytes);
    for (std::size_t i = 0; i < step; ++i) {
      const std::uintptr_t address = arena_begin + 4 * static_cast<std::size_t>(words + i - device_words);
      if (address < a.begin || address >= a.begin + a.size) continue;
      check_order(words[i].writer, address, &a, what);
      check_order(words[i].readers[0], address, &a, what);
      check_order(words[i].readers[1], address, &a, what);
    }
  }
}

namespace {
// A card loads and stores numbers and vectors at multiples of their size only.
void aligned_access(void* pointer, unsigned size, Access access) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(pointer);
  if (kernel_context && address % size != 0) {
    violation("block %u thread %u touches %u bytes at %p, which is no multiple of %u", position.block,
              position.thread, size, pointer, size);
  }
  kernel_access(address, size, access);
}
}  // namespace

// __tsan_unaligned_*: accesses that the compiler itself put together of smaller ones.
#define HOOKS(size)                                                                          \
  void __tsan_read##size(void* address) { aligned_access(address, size, Access::read); }     \
  void __tsan_write##size(void* address) { aligned_access(address, size, Access::write); }   \
  void __tsan_unaligned_read##size(void* address) { __tsan_read_range(address, size); }      \
  void __tsan_unaligned_write##size(void* address) { __tsan_write_range(address, size); }
extern "C" {
void __tsan_read_range(void* address, std::size_t size) {
  kernel_access(reinterpret_cast<std::uintptr_t>(address), static_cast<unsigned>(size), Access::read);
}
void __tsan_write_range(void* address, std::size_t size) {
  kernel_access(reinterpret_cast<std::uintptr_t>(address), static_cast<unsigned>(size), Access::write);
}
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}

namespace cuda_cpu {
void touch_atomic(const void* address, std::size_t size) {
  kernel_access(reinterpret_cast<std::uintptr_t>(address), static_cast<unsigned>(size), Access::atomic);
}
}  // namespace cuda_cpu

#else

bool kernels_are_checked() { return false; }
void begin_shared(unsigned char*, unsigned char*) {}
void reserve_shadow() {}
void forget_shadow(const Allocation&) {}
void touch_all(const Allocation&, const char*) {}

// Without shadow: an allocation was written as a whole, or not at all.
void record(const Allocation& a, std::uintptr_t address, std::size_t, std::size_t, std::size_t, Access access,
            const char* what) {
  if (access == Access::read && !a.written) refuse(&a, address, what, "reads memory that was never written");
}

namespace cuda_cpu {
void touch_atomic(const void*, std::size_t) {}
}  // namespace cuda_cpu

#endif

void touch(Context* context, std::uintptr_t address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride,
           Access access, const char* what) {
  if (row_bytes == 0 || n_rows == 0) return;
  Allocation* a = allocation_at(address);
  if (!a) refuse(nullptr, address, what, why_no_pointer(address));
  if (a->context != context) refuse(a, address, what, "belongs to another context");
  const std::size_t left = a->begin + a->size - address;
  if (n_rows - 1 > (left - (left < row_bytes ? left : row_bytes)) / (stride ? stride : 1) || row_bytes > left) {
    static char text[120];
    snprintf(text, sizeof text, "%zu rows of %zu bytes, %zu apart, leave its allocation", n_rows, row_bytes, stride);
    refuse(a, address, what, text);
  }
  record(*a, address, row_bytes, n_rows, stride, access, what);
  if (access != Access::read) a->written = true;
}
