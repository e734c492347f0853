// Random numbers that are a pure function of a seed and a position.
//
// Source: the output function and the increment of splitmix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014).  The seed is mixed first, so that the sequences of
// neighbouring seeds have nothing to do with each other.
#pragma once

#include <cstdint>

namespace ingot {

inline std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// A number in [0, 1) with 53 random bits.
inline double uniform(std::uint64_t seed, std::uint64_t position) {
  constexpr std::uint64_t GOLDEN = 0x9E3779B97F4A7C15u;
  const std::uint64_t bits = mix64(mix64(seed + GOLDEN) + (position + 1) * GOLDEN);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace ingot
