#include "bf16_speed.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "cpu_level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ingot {

#if defined(__x86_64__)
namespace {

constexpr int CHAINS = 12;  // more than the latency of either instruction hides, all in registers
constexpr int TURNS = 2000;
constexpr int ROUNDS = 12;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The compiler must neither know the factors nor drop the sums.
__attribute__((target("avx512f,avx512bf16"), noinline)) double time_bf16(__m512i bits) {
  const __m512bh factor = reinterpret_cast<__m512bh &>(bits);
  __m512 sums[CHAINS];
#pragma GCC unroll 12
  for (__m512 &sum : sums) sum = _mm512_setzero_ps();
  const auto start = Clock::now();
  for (int turn = 0; turn < TURNS; ++turn) {
#pragma GCC unroll 12
    for (__m512 &sum : sums) {
      sum = _mm512_dpbf16_ps(sum, factor, factor);
      __asm__ volatile("" : "+v"(sum));
    }
  }
  return seconds_since(start);
}

__attribute__((target("avx512f"), noinline)) double time_f32(__m512i bits) {
  const __m512 factor = _mm512_castsi512_ps(bits);
  __m512 sums[CHAINS];
#pragma GCC unroll 12
  for (__m512 &sum : sums) sum = _mm512_setzero_ps();
  const auto start = Clock::now();
  for (int turn = 0; turn < TURNS; ++turn) {
#pragma GCC unroll 12
    for (__m512 &sum : sums) {
      sum = _mm512_fmadd_ps(factor, factor, sum);
      __asm__ volatile("" : "+v"(sum));
    }
  }
  return seconds_since(start);
}

__attribute__((target("avx512f"), noinline)) double ratio() {
  double bf16 = 1e9, f32 = 1e9;
  const __m512i ones = _mm512_set1_epi32(0x3f803f80);
  for (int round = 0; round < ROUNDS; ++round) {
    bf16 = std::min(bf16, time_bf16(ones));
    f32 = std::min(f32, time_f32(ones));
  }
  return 2 * f32 / bf16;
}

}  // namespace

double bf16_speed() { return std::strcmp(cpu_level(), "avx512bf16") ? 0 : ratio(); }
#else
double bf16_speed() { return 0; }
#endif

}  // namespace ingot
