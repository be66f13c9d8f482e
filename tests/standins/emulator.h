// emulator.h: runs a kernel's grid on the CPU.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"

struct Grid {
  unsigned grid[3], block[3];
  std::size_t dynamic_bytes;
  // Static shared memory of the kernel's file.
  unsigned char *shared_begin, *shared_end;
};

// Runs every thread of every block, blocks in order of x, y, z.
void run_grid(const Grid& grid, const Launch& launch);

// Where the running thread is: what two accesses need to be ordered by.
struct Position {
  std::uint32_t block, thread;
  // Barriers of the block, and __syncwarp of this thread, that lie behind it.
  std::uint32_t block_epoch, warp_epoch;
};
extern Position position;

// Dynamic shared memory of the running block, the stacks of its threads, the kernel's arguments.
extern std::uintptr_t dynamic_begin, dynamic_end, stacks_begin, stacks_end, arguments_begin, arguments_end;
