#include "distribution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "error.h"
#include "row_math.h"

namespace ingot {
namespace {

// Bins of 1/32 in (maximum − logit) / temperature: what the last one holds weighs below e^-63.
constexpr std::size_t BINS = 2048;
constexpr float BINS_PER_UNIT = 32.0f;

std::size_t blocks_of(std::size_t size, std::size_t block) { return (size + block - 1) / block; }

}  // namespace

Distribution::Distribution(std::span<const float> row, float temperature)
    : row_(row),
      maximum_(row_maximum(row)),
      scale_(1.0f / temperature),
      lowest_(-std::numeric_limits<float>::infinity()),
      weights_(row.size()),
      sums_(blocks_of(row.size(), SUM_BLOCK)) {
  if (!std::isfinite(maximum_)) fail("the logits hold no finite maximum");
  exponentials(row_, maximum_, scale_, weights_, sums_);
}

std::size_t Distribution::bin_of(float logit) const {
  const float distance = (maximum_ - logit) * (scale_ * BINS_PER_UNIT);
  return distance < static_cast<float>(BINS - 1) ? static_cast<std::size_t>(distance) : BINS - 1;
}

std::vector<std::int32_t> Distribution::candidates(float bound) const {
  bound = std::max(bound, lowest_);
  std::vector<std::int32_t> tokens;
  for (std::size_t block = 0; block < maxima_.size(); ++block) {
    if (maxima_[block] < bound) continue;
    const std::size_t end = std::min(row_.size(), (block + 1) * MAXIMUM_BLOCK);
    for (std::size_t i = block * MAXIMUM_BLOCK; i < end; ++i)
      if (row_[i] >= bound && weights_[i] > 0) tokens.push_back(static_cast<std::int32_t>(i));
  }
  return tokens;
}

// The first token in the order at which the running sum of measure(token) reaches `wanted`, or the
// last token.
template <typename Measure>
std::int32_t Distribution::end_of_prefix(const std::vector<std::int32_t> &tokens, Measure measure,
                                         double wanted) const {
  std::array<double, BINS> sums{};
  std::vector<std::uint16_t> bins(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    bins[i] = static_cast<std::uint16_t>(bin_of(row_[tokens[i]]));
    sums[bins[i]] += measure(tokens[i]);
  }
  const std::size_t last_bin = bins.empty() ? 0 : *std::max_element(bins.begin(), bins.end());
  std::size_t bin = 0;
  double reached = 0;
  while (bin < last_bin && reached + sums[bin] < wanted) reached += sums[bin++];
  std::vector<std::int32_t> inside;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (bins[i] == bin) inside.push_back(tokens[i]);
  std::sort(inside.begin(), inside.end(), [this](std::int32_t a, std::int32_t b) {
    return row_[a] > row_[b] || (row_[a] == row_[b] && a < b);
  });
  for (const std::int32_t token : inside) {
    reached += measure(token);
    if (reached >= wanted) return token;
  }
  return inside.back();
}

void Distribution::keep_most_likely(std::size_t count) {
  maxima_.resize(blocks_of(row_.size(), MAXIMUM_BLOCK));
  block_maxima(row_, maxima_);
  float bound = -std::numeric_limits<float>::infinity();
  if (count <= maxima_.size()) {
    // The `count` largest maxima are as many tokens: the last one to keep is not below the last.
    std::vector<float> maxima = maxima_;
    const auto last = maxima.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(maxima.begin(), last, maxima.end(), std::greater<float>());
    bound = *last;
  }
  const std::vector<std::int32_t> tokens = candidates(bound);
  if (tokens.size() <= count && count > maxima_.size()) return;
  const auto one = [](std::int32_t) { return 1.0; };
  drop_after(end_of_prefix(tokens, one, static_cast<double>(count)));
}

void Distribution::keep_probability(double probability) {
  const double total = std::accumulate(sums_.begin(), sums_.end(), 0.0);
  const double wanted = probability * total;
  const auto weight = [this](std::int32_t token) { return static_cast<double>(weights_[token]); };
  maxima_.resize(blocks_of(row_.size(), MAXIMUM_BLOCK));
  block_maxima(row_, maxima_);
  // Where no more than `tail` tokens weigh less than (1 − p) · total / tail, those may all go.  Mostly
  // few do weigh anything, so a short tail is tried first; with all tokens for a tail it must hold.
  const double all = static_cast<double>(row_.size());
  for (const double tail : {1024.0, all}) {
    const double light = (1 - probability) * total / tail;
    // A little low, for the rounding of weights: lower only costs time.
    const double bound = static_cast<double>(maximum_) + (std::log(light) - 0.01) / scale_;
    const std::vector<std::int32_t> tokens = candidates(static_cast<float>(bound));
    double sum = 0;
    for (const std::int32_t token : tokens) sum += weight(token);
    if (tail < all && sum < wanted) continue;
    return drop_after(end_of_prefix(tokens, weight, wanted));
  }
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
  lowest_ = threshold;
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
