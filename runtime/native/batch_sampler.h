// Samples many rows at once, each on one member of a thread team.
//
// Contract: the result of a row is that of its state's sample(), whatever the others are.  Rows are
// taken in turn, as greedy ones are much cheaper than others.
// Failure: sample_rows() keeps the message of each row that fails; sample() throws the first, naming
// the row.  No state is changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sampler.h"
#include "thread_team.h"

namespace ingot {

struct SampledRows {
  std::vector<Sampled> results;
  std::vector<std::string> errors;  // of each row; empty: none
};

// `logits` has one row for each state, `row_stride` floats apart.
SampledRows sample_rows(ThreadTeam &team, const std::vector<const SamplerState *> &states,
                        const float *logits, std::int64_t row_stride);

class BatchSampler {
 public:
  explicit BatchSampler(int threads) : team_(threads) {}

  std::vector<Sampled> sample(const std::vector<const SamplerState *> &states, const float *logits,
                              std::int64_t row_stride);

 private:
  ThreadTeam team_;
};

}  // namespace ingot
