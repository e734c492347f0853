// The Python face of the native runtime.
#include "bf16_speed.h"
#include "bindings.h"
#include "cpu_level.h"
#include "error.h"

NB_MODULE(_native, module) {
  module.doc() = "Ingot's native runtime: executor, KV cache and sampler.";
  nanobind::exception<ingot::Error>(module, "Error", PyExc_ValueError);
  nanobind::set_leak_warnings(false);  // objects alive at exit are no news for a user
  module.def("cpu_level", &ingot::cpu_level);
  module.def("bf16_speed", &ingot::bf16_speed);
  ingot::bind_team(module);
  ingot::bind_executor(module);
  ingot::bind_memory(module);
  ingot::bind_sampler(module);
}
