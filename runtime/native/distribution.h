// A row of logits as weights to draw from, and the filters that cut its tail off.
//
// Tokens are in the order of falling logits, lower tokens first among equals; a filter keeps a prefix
// of that order.  No filter sorts the row.  A bound that the end of the prefix cannot lie below leaves
// few candidates, whole blocks of the row being passed over by their maxima; a pass over bins of the
// candidates' logits finds the one in which the prefix ends, and only that bin is sorted.
//
// Ownership: the object refers to the row it is made of, which must outlive it.
// Failure: the constructor throws Error where the row has no finite maximum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ingot {

class Distribution {
 public:
  Distribution(std::span<const float> row, float temperature);

  void keep_most_likely(std::size_t count);  // top-k, count ≥ 1
  void keep_probability(double probability);  // top-p: the shortest prefix that reaches it
  void keep_fraction_of_best(float fraction);  // min-p

  // The token at which the running sum of weights, in token order, passes `uniform` of the whole.
  std::int32_t draw(double uniform) const;

 private:
  std::size_t bin_of(float logit) const;
  std::vector<std::int32_t> candidates(float bound) const;
  template <typename Measure>
  std::int32_t end_of_prefix(const std::vector<std::int32_t> &tokens, Measure measure,
                             double wanted) const;
  void drop_after(std::int32_t last);

  std::span<const float> row_;
  float maximum_;
  float scale_;  // 1 / temperature
  float lowest_;  // what lies below has been dropped
  std::vector<float> weights_;  // exp((row − maximum) · scale); 0: dropped
  std::vector<double> sums_;  // of the blocks of weights_
  std::vector<float> maxima_;  // of the blocks of row_
};

}  // namespace ingot
