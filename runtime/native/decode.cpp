#include "decode.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "batch_sampler.h"
#include "error.h"

namespace ingot {
namespace {

// CLOCK_MONOTONIC, as Python's time.monotonic.
double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check(const DecodeBatch &batch) {
  const std::size_t sequences = batch.states.size();
  if (sequences == 0) fail("a burst without sequences");
  if (batch.steps < 1) fail("a burst of ", batch.steps, " steps");
  if (batch.token_ids.size() != sequences || batch.positions.size() != sequences ||
      batch.end_ids.size() != sequences)
    fail("a burst of ", sequences, " states: expected as many tokens, positions and end tokens");
}

bool any_ends(const DecodeBatch &batch, const std::vector<Sampled> &sampled) {
  for (std::size_t i = 0; i < sampled.size(); ++i)
    if (std::ranges::count(batch.end_ids[i], sampled[i].token)) return true;
  return false;
}

}  // namespace

Decoded decode(Executor &executor, const DecodeBatch &batch,
               const std::atomic<bool> &interrupted) {
  check(batch);
  const std::size_t sequences = batch.states.size();
  std::vector<std::int32_t> tokens(batch.token_ids.begin(), batch.token_ids.end());
  std::vector<std::int32_t> positions(batch.positions.begin(), batch.positions.end());
  std::vector<std::int32_t> starts(sequences + 1);
  std::iota(starts.begin(), starts.end(), 0);
  const std::vector<const SamplerState *> states(batch.states.begin(), batch.states.end());
  const double deadline = now() + batch.seconds;

  Decoded decoded;
  while (true) {
    const Logits logits = executor.step({tokens, positions, starts, batch.block_tables,
                                         static_cast<std::int64_t>(sequences), batch.blocks,
                                         std::span(starts).first(sequences), {},
                                         batch.state_slots});
    SampledRows rows = sample_rows(executor.team(), states, logits.data, logits.row_stride);
    decoded.errors = std::move(rows.errors);
    for (std::size_t i = 0; i < sequences; ++i) {
      if (!decoded.errors[i].empty()) continue;
      tokens[i] = rows.results[i].token;
      ++positions[i];
      batch.states[i]->observe(tokens[i]);
    }
    const bool ends = any_ends(batch, rows.results);
    decoded.steps.push_back(std::move(rows.results));
    decoded.times.push_back(now());
    const bool failed =
        std::ranges::any_of(decoded.errors, [](const std::string &text) { return !text.empty(); });
    if (ends || failed || interrupted.load(std::memory_order_relaxed) ||
        static_cast<std::int64_t>(decoded.steps.size()) == batch.steps ||
        decoded.times.back() > deadline)
      return decoded;
  }
}

}  // namespace ingot
