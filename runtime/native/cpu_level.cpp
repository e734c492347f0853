#include "cpu_level.h"

namespace ingot {

const char *cpu_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2 && avx512) return __builtin_cpu_supports("avx512bf16") ? "avx512bf16" : "avx512";
  if (avx2) return "avx2";
#endif
  return "generic";
}

}  // namespace ingot
