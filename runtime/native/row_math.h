// Passes over a row of logits that are worth vector instructions.
//
// The functions are compiled for several instruction sets and chosen at load.  NaN counts as −∞.
#pragma once

#include <cstddef>
#include <span>

namespace ingot {

// Elements that share one entry of the sums that exponentials() returns.
constexpr std::size_t SUM_BLOCK = 1024;

// The largest element, or −∞.
float row_maximum(std::span<const float> row);

// Elements that share one entry of block_maxima().
constexpr std::size_t MAXIMUM_BLOCK = 64;

// maxima[b] = the largest element of block b, or −∞.
void block_maxima(std::span<const float> row, std::span<float> maxima);

// The index of the first element equal to `value`, or the size.
std::size_t first_equal(std::span<const float> row, float value);

// weights[i] = exp((row[i] − maximum) · scale), and sums[b] = Σ weights over block b.  Requires
// row[i] ≤ maximum and scale > 0.  Relative error of a weight below 3e-7; what is below e^-87 is 0.
void exponentials(std::span<const float> row, float maximum, float scale, std::span<float> weights,
                  std::span<double> sums);

// Sets weights[i] to 0 where keys[i] < threshold, and sums as above.
void keep_at_least(std::span<const float> keys, float threshold, std::span<float> weights,
                   std::span<double> sums);

// Σ exp(row[i] − maximum).
double exponential_sum(std::span<const float> row, float maximum);

}  // namespace ingot
