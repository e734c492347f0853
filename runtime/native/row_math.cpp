#include "row_math.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define INGOT_EVERY_LEVEL \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define INGOT_EVERY_LEVEL
#endif

namespace ingot {
namespace {

constexpr std::size_t LANES = 16;
using Floats = float __attribute__((vector_size(4 * LANES)));
using Ints = std::uint32_t __attribute__((vector_size(4 * LANES)));

constexpr float LOWEST = -std::numeric_limits<float>::infinity();

// exp(x) for x in [-87, 0]: x = n·ln 2 + r, then the Taylor polynomial of degree 7 in r, |r| ≤ ln 2 / 2
// (its remainder is below 1e-8), times 2^n by way of the exponent field.  Below -87, and for NaN: 0.
inline __attribute__((always_inline)) void exp_in_place(Floats &x) {
  constexpr float ROUND = 12582912.0f;  // 1.5 · 2^23: adding it leaves an integer in the low bits
  const Floats clamped = x > -87.0f ? x : Floats{} - 87.0f;
  const Floats shifted = clamped * 1.44269504f + ROUND;
  const Floats n = shifted - ROUND;
  // ln 2 in two parts, the first with so few bits that n times it is exact.
  const Floats r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Ints bits, power;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&power, &shifted, sizeof power);
  bits += power << 23;  // the bits of ROUND above the integer are shifted out
  std::memcpy(&p, &bits, sizeof p);
  x = x > -87.0f ? p : Floats{};
}

inline __attribute__((always_inline)) double lane_sum(const Floats &x) {
  double sum = 0;
  for (std::size_t lane = 0; lane < LANES; ++lane) sum += static_cast<double>(x[lane]);
  return sum;
}

// Loads LANES floats, or as many as there are, filled up with `fill`.
inline __attribute__((always_inline)) void load(Floats &x, const float *from, std::size_t count,
                                                float fill) {
  if (count >= LANES) {
    std::memcpy(&x, from, sizeof x);
    return;
  }
  x = Floats{} + fill;
  for (std::size_t lane = 0; lane < count; ++lane) x[lane] = from[lane];
}

inline __attribute__((always_inline)) float maximum_of(const float *from, std::size_t count) {
  Floats largest = Floats{} + LOWEST, x;
  for (std::size_t i = 0; i < count; i += LANES) {
    load(x, from + i, count - i, LOWEST);
    largest = x > largest ? x : largest;
  }
  float result = LOWEST;
  for (std::size_t lane = 0; lane < LANES; ++lane) result = std::max(result, largest[lane]);
  return result;
}

}  // namespace

INGOT_EVERY_LEVEL float row_maximum(std::span<const float> row) {
  return maximum_of(row.data(), row.size());
}

INGOT_EVERY_LEVEL void block_maxima(std::span<const float> row, std::span<float> maxima) {
  for (std::size_t start = 0; start < row.size(); start += MAXIMUM_BLOCK)
    maxima[start / MAXIMUM_BLOCK] =
        maximum_of(row.data() + start, std::min(MAXIMUM_BLOCK, row.size() - start));
}

std::size_t first_equal(std::span<const float> row, float value) {
  return static_cast<std::size_t>(std::find(row.begin(), row.end(), value) - row.begin());
}

INGOT_EVERY_LEVEL void exponentials(std::span<const float> row, float maximum, float scale,
                                    std::span<float> weights, std::span<double> sums) {
  for (std::size_t start = 0; start < row.size(); start += SUM_BLOCK) {
    const std::size_t end = std::min(row.size(), start + SUM_BLOCK);
    Floats sum = Floats{}, x;
    for (std::size_t i = start; i < end; i += LANES) {
      load(x, row.data() + i, end - i, LOWEST);
      x = (x - maximum) * scale;
      exp_in_place(x);
      sum += x;
      std::memcpy(weights.data() + i, &x, std::min(LANES, end - i) * sizeof(float));
    }
    sums[start / SUM_BLOCK] = lane_sum(sum);
  }
}

INGOT_EVERY_LEVEL void keep_at_least(std::span<const float> keys, float threshold,
                                     std::span<float> weights, std::span<double> sums) {
  for (std::size_t start = 0; start < keys.size(); start += SUM_BLOCK) {
    const std::size_t end = std::min(keys.size(), start + SUM_BLOCK);
    Floats sum = Floats{}, key, weight;
    for (std::size_t i = start; i < end; i += LANES) {
      load(key, keys.data() + i, end - i, LOWEST);
      load(weight, weights.data() + i, end - i, 0.0f);
      weight = key >= threshold ? weight : Floats{};
      sum += weight;
      std::memcpy(weights.data() + i, &weight, std::min(LANES, end - i) * sizeof(float));
    }
    sums[start / SUM_BLOCK] = lane_sum(sum);
  }
}

INGOT_EVERY_LEVEL double exponential_sum(std::span<const float> row, float maximum) {
  double total = 0;
  for (std::size_t start = 0; start < row.size(); start += SUM_BLOCK) {
    const std::size_t end = std::min(row.size(), start + SUM_BLOCK);
    Floats sum = Floats{}, x;
    for (std::size_t i = start; i < end; i += LANES) {
      load(x, row.data() + i, end - i, LOWEST);
      x -= maximum;
      exp_in_place(x);
      sum += x;
    }
    total += lane_sum(sum);
  }
  return total;
}

}  // namespace ingot
