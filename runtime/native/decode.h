// Decodes some steps on end: each sequence's token is sampled and run in the next step.
//
// Contract: the same tokens as one step() at a time with sampling in between.  A burst ends after the
// step in which a sequence samples one of its end tokens or sampling fails, after `steps` steps, where
// `interrupted` is set, or where the next step would begin later than `seconds` after the first.
// The first step is run in any case.
// States of samplers have observed what the result holds.
// Failure: Error from a step, and what was sampled before it is lost; what fails in sampling stands in
// `errors`.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "executor.h"
#include "sampler.h"

namespace ingot {

struct DecodeBatch {
  std::span<const std::int32_t> token_ids;  // of each sequence, the token to run
  std::span<const std::int32_t> positions;  // of those tokens
  std::span<const std::int32_t> block_tables;  // [sequences, blocks], as far as `steps` steps need
  std::int64_t blocks;
  std::span<const std::int32_t> state_slots;
  std::span<const std::vector<std::int32_t>> end_ids;  // of each sequence
  std::vector<SamplerState *> states;
  std::int64_t steps;
  double seconds;
};

struct Decoded {
  std::vector<std::vector<Sampled>> steps;  // of each step, of each sequence
  std::vector<double> times;  // when the tokens of each step were known, on the monotonic clock
  std::vector<std::string> errors;  // of each sequence, in the last step; empty: none
};

Decoded decode(Executor &executor, const DecodeBatch &batch, const std::atomic<bool> &interrupted);

}  // namespace ingot
