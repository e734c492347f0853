// The parts of the Python module; each adds its classes to it.
#pragma once

#include <nanobind/nanobind.h>

namespace ingot {

void bind_executor(nanobind::module_ &module);
void bind_memory(nanobind::module_ &module);
void bind_sampler(nanobind::module_ &module);
void bind_team(nanobind::module_ &module);

}  // namespace ingot
