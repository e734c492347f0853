// Which of the CPU target's levels the machine can run.
#pragma once

namespace ingot {

// "avx512bf16", "avx512", "avx2" or "generic": the highest level whose instructions the CPU and the
// system support.
const char *cpu_level();

}  // namespace ingot
