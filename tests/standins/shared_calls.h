// shared_calls.h: what the stand-in libcublas asks of the stand-in libcuda.
#pragma once
#include <cstddef>

extern "C" {
// Begins an operation `name` on a stream of the current context. False if there is no context or no such stream;
// else standin_end ends it.
bool standin_begin(const char* name, void* stream);
// The operation reads or writes `n_rows` rows of `row_bytes`, `stride` bytes apart.
void standin_reads(const void* address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride,
                   const char* what);
void standin_writes(void* address, std::size_t row_bytes, std::size_t n_rows, std::size_t stride, const char* what);
void standin_end();
// Prints a line and aborts.
[[noreturn]] void standin_refuse(const char* reason);
}
