// kernels.h: kernels by name, with the argument list that the compiler deduces from their signature.
//
// scripts/build-standins writes one file for each .cu: it includes the .cu and says STANDIN_KERNEL(name) for each
// kernel in it.
#pragma once
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

struct Parameter {
  std::size_t offset, size, alignment;
  bool pointer, writes;
};

// `thread(arguments)` is one thread of the kernel.
struct Launch {
  void (*thread)(void* arguments);
  void* arguments;
  std::size_t argument_bytes;
};

struct Kernel {
  const char* name;
  const Parameter* parameters;
  unsigned n_parameters;
  // Makes a copy of the arguments, as a launch does, and calls `run(launch, context)`.
  void (*with_arguments)(void** arguments, void (*run)(const Launch&, const void* context), const void* context);
  unsigned char *shared_begin, *shared_end;
  int max_dynamic_bytes = 48 << 10;
  Kernel* next = nullptr;
};

extern Kernel* first_kernel;

struct Registration {
  explicit Registration(Kernel* kernel) {
    kernel->next = first_kernel;
    first_kernel = kernel;
  }
};

template <auto kernel>
struct Signature;

template <class... A, void (*kernel)(A...)>
struct Signature<kernel> {
  using Copy = std::tuple<A...>;
  static constexpr unsigned n = sizeof...(A);

  template <class T>
  static constexpr Parameter parameter() {
    static_assert(std::is_trivially_copyable<T>::value, "kernel arguments are copied byte by byte");
    using Pointee = std::remove_pointer_t<T>;
    return {0, sizeof(T), alignof(T), std::is_pointer<T>::value,
            std::is_pointer<T>::value && !std::is_const<Pointee>::value};
  }

  static const Parameter* parameters() {
    static Parameter list[n + 1] = {parameter<A>()...};
    std::size_t end = 0;
    for (unsigned i = 0; i < n; ++i) {
      list[i].offset = (end + list[i].alignment - 1) / list[i].alignment * list[i].alignment;
      end = list[i].offset + list[i].size;
    }
    return list;
  }

  static void thread(void* copy) { std::apply(kernel, *static_cast<Copy*>(copy)); }

  template <std::size_t... i>
  static void with(void** arguments, void (*run)(const Launch&, const void*), const void* context,
                   std::index_sequence<i...>) {
    Copy copy(*static_cast<A*>(arguments[i])...);
    run({&thread, &copy, sizeof copy}, context);
  }

  static void with_arguments(void** arguments, void (*run)(const Launch&, const void*), const void* context) {
    with(arguments, run, context, std::make_index_sequence<n>());
  }
};

#define STANDIN_SHARED_(name) __start_##name
#define STANDIN_SHARED_END_(name) __stop_##name
// Bounds of the file's shared memory, made by the linker; absent where a file has none.
#define STANDIN_FILE(section)                                                            \
  extern "C" __attribute__((weak, visibility("hidden"))) unsigned char STANDIN_SHARED_(section)[]; \
  extern "C" __attribute__((weak, visibility("hidden"))) unsigned char STANDIN_SHARED_END_(section)[];
#define STANDIN_KERNEL(section, kernel)                                                                            \
  static Kernel registered_##kernel = {#kernel, Signature<&kernel>::parameters(), Signature<&kernel>::n,           \
                                       &Signature<&kernel>::with_arguments, STANDIN_SHARED_(section),              \
                                       STANDIN_SHARED_END_(section)};                                              \
  static Registration registration_##kernel(&registered_##kernel);
