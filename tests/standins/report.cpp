#include "report.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

thread_local const char* current_function = nullptr;
const char* current_kernel = nullptr;

void violation(const char* format, ...) {
  char text[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char* function = current_function ? current_function : "at no call";
  if (current_kernel) {
    fprintf(stderr, "standin: %s kernel %s: %s\n", function, current_kernel, text);
  } else {
    fprintf(stderr, "standin: %s: %s\n", function, text);
  }
  fflush(stderr);
  abort();
}

std::size_t environment_number(const char* name, std::size_t otherwise) {
  const char* text = getenv(name);
  if (!text || !*text) return otherwise;
  char* end = nullptr;
  std::size_t number = strtoull(text, &end, 10);
  const char* units = "KMG";
  if (*end && strchr(units, *end)) {
    number <<= 10 * (strchr(units, *end) - units + 1);
    ++end;
  }
  if (end == text || *end) violation("%s=%s is not a number (bytes may end in K, M or G)", name, text);
  return number;
}

bool environment_flag(const char* name) {
  const char* text = getenv(name);
  return text && *text && strcmp(text, "0") != 0;
}
