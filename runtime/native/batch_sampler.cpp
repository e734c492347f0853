#include "batch_sampler.h"

#include <atomic>

#include "error.h"

namespace ingot {
namespace {

struct Work {
  const std::vector<const SamplerState *> &states;
  const float *logits;
  std::int64_t row_stride;
  SampledRows sampled;
  std::atomic<std::size_t> next{0};

  // A function of the team must not throw: what went wrong is kept for the caller.
  void run() {
    for (std::size_t row; (row = next.fetch_add(1)) < states.size();) {
      const float *begin = logits + static_cast<std::int64_t>(row) * row_stride;
      const SamplerState &state = *states[row];
      try {
        sampled.results[row] = state.sample({begin, static_cast<std::size_t>(state.vocab_size())});
      } catch (const std::exception &error) {
        sampled.errors[row] = error.what();
      }
    }
  }
};

}  // namespace

SampledRows sample_rows(ThreadTeam &team, const std::vector<const SamplerState *> &states,
                        const float *logits, std::int64_t row_stride) {
  Work work{states,
            logits,
            row_stride,
            {std::vector<Sampled>(states.size()), std::vector<std::string>(states.size())}};
  if (states.size() <= 1)
    work.run();
  else
    team.run([](void *context, int) { static_cast<Work *>(context)->run(); }, &work);
  return std::move(work.sampled);
}

std::vector<Sampled> BatchSampler::sample(const std::vector<const SamplerState *> &states,
                                          const float *logits, std::int64_t row_stride) {
  SampledRows sampled = sample_rows(team_, states, logits, row_stride);
  for (std::size_t row = 0; row < states.size(); ++row)
    if (!sampled.errors[row].empty()) fail("row ", row, ": ", sampled.errors[row]);
  return std::move(sampled.results);
}

}  // namespace ingot
