// report.h: one line for a violation, and what was going on.
#pragma once
#include <cstddef>

// The library's function that runs in this OS thread, and the kernel that it runs.
extern thread_local const char* current_function;
extern const char* current_kernel;

// Prints `standin: FUNCTION [kernel NAME]: reason` on stderr and aborts.
[[noreturn]] void violation(const char* format, ...) __attribute__((format(printf, 1, 2)));

// A number with an optional K, M or G behind it. Ends the program if the variable holds anything else.
std::size_t environment_number(const char* name, std::size_t otherwise);
bool environment_flag(const char* name);

struct FunctionScope {
  explicit FunctionScope(const char* name) : outer(current_function) { current_function = name; }
  ~FunctionScope() { current_function = outer; }
  const char* outer;
};
