// Samples many rows at once, each on one member of a thread team.
//
// Contract: the result of a row is that of its state's sample(), whatever the others are.  Rows are
// taken in turn, as greedy ones are much cheaper than others.
// Failure: the Error of the first row that fails, naming the row; no state is changed.
#pragma once

#include <cstdint>
#include <vector>

#include "sampler.h"
#include "thread_team.h"

namespace ingot {

class BatchSampler {
 public:
  explicit BatchSampler(int threads) : team_(threads) {}

  // `logits` has one row for each state, `row_stride` floats apart.
  std::vector<Sampled> sample(const std::vector<const SamplerState *> &states, const float *logits,
                              std::int64_t row_stride);

 private:
  ThreadTeam team_;
};

}  // namespace ingot
