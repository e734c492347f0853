// The Python face of the native runtime.
#include <nanobind/nanobind.h>

NB_MODULE(_native, m) { m.doc() = "Ingot's native runtime: executor, KV cache and sampler."; }
