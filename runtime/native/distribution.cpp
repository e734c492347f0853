#include "distribution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "error.h"
#include "row_math.h"

namespace ingot {
namespace {

// Bins of 1/32 in (maximum − logit) / temperature: what the last one holds weighs below e^-63.
constexpr std::size_t BINS = 2048;
constexpr float BINS_PER_UNIT = 32.0f;

std::size_t blocks_of(std::size_t size) { return (size + SUM_BLOCK - 1) / SUM_BLOCK; }

}  // namespace

Distribution::Distribution(std::span<const float> row, float temperature)
    : row_(row),
      maximum_(row_maximum(row)),
      scale_(1.0f / temperature),
      weights_(row.size()),
      sums_(blocks_of(row.size())) {
  if (!std::isfinite(maximum_)) fail("the logits hold no finite maximum");
  exponentials(row_, maximum_, scale_, weights_, sums_);
}

std::size_t Distribution::bin_of(float logit) const {
  const float distance = (maximum_ - logit) * (scale_ * BINS_PER_UNIT);
  return distance < static_cast<float>(BINS - 1) ? static_cast<std::size_t>(distance) : BINS - 1;
}

bool Distribution::before(std::int32_t a, std::int32_t b) const {
  return row_[a] > row_[b] || (row_[a] == row_[b] && a < b);
}

std::vector<std::int32_t> Distribution::in_bin(std::size_t bin) const {
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < row_.size(); ++i)
    if (weights_[i] > 0 && bin_of(row_[i]) == bin) tokens.push_back(static_cast<std::int32_t>(i));
  return tokens;
}

void Distribution::keep_most_likely(std::size_t count) {
  std::array<std::size_t, BINS> counts{};
  for (std::size_t i = 0; i < row_.size(); ++i) counts[bin_of(row_[i])] += weights_[i] > 0;
  std::size_t bin = 0, kept = 0;
  while (bin < BINS && kept + counts[bin] < count) kept += counts[bin++];
  if (bin == BINS) return;  // no more than `count` are left
  std::vector<std::int32_t> tokens = in_bin(bin);
  const auto last = tokens.begin() + static_cast<std::ptrdiff_t>(count - kept - 1);
  std::nth_element(tokens.begin(), last, tokens.end(),
                   [this](std::int32_t a, std::int32_t b) { return before(a, b); });
  drop_after(*last);
}

void Distribution::keep_probability(double probability) {
  std::array<double, BINS> sums{};
  for (std::size_t i = 0; i < row_.size(); ++i)
    sums[bin_of(row_[i])] += static_cast<double>(weights_[i]);
  const double wanted = probability * std::accumulate(sums.begin(), sums.end(), 0.0);
  std::size_t bin = 0;
  double kept = 0;
  while (bin < BINS - 1 && kept + sums[bin] < wanted) kept += sums[bin++];
  std::vector<std::int32_t> tokens = in_bin(bin);
  if (tokens.empty()) return;  // rounding of the sums: everything is needed
  std::sort(tokens.begin(), tokens.end(),
            [this](std::int32_t a, std::int32_t b) { return before(a, b); });
  auto last = tokens.begin();
  for (; last + 1 != tokens.end(); ++last) {
    kept += static_cast<double>(weights_[*last]);
    if (kept >= wanted) break;
  }
  drop_after(*last);
}

void Distribution::keep_fraction_of_best(float fraction) {
  keep_at_least(weights_, fraction, weights_, sums_);  // the best weighs 1
}

void Distribution::drop_after(std::int32_t last) {
  const float threshold = row_[last];
  // Equal logits behind `last` go as well.
  for (std::size_t i = static_cast<std::size_t>(last) + 1; i < row_.size(); ++i)
    if (row_[i] == threshold) weights_[i] = 0;
  keep_at_least(row_, threshold, weights_, sums_);
}

std::int32_t Distribution::draw(double uniform) const {
  double left = uniform * std::accumulate(sums_.begin(), sums_.end(), 0.0);
  std::size_t block = 0;
  while (block + 1 < sums_.size() && left >= sums_[block]) left -= sums_[block++];
  std::int32_t chosen = -1;
  // Rounding may leave a little beyond the block's last weight: then the last one is meant.
  for (std::size_t i = block * SUM_BLOCK; i < weights_.size(); ++i) {
    if (weights_[i] <= 0) continue;
    chosen = static_cast<std::int32_t>(i);
    left -= static_cast<double>(weights_[i]);
    if (left < 0) return chosen;
  }
  if (chosen >= 0) return chosen;
  return static_cast<std::int32_t>(first_equal(row_, maximum_));
}

}  // namespace ingot
