#include "batch_sampler.h"

#include <algorithm>

#include "error.h"

namespace ingot {
namespace {

struct Work {
  const std::vector<const SamplerState *> &states;
  const float *logits;
  std::int64_t row_stride;
  SampledRows sampled;
  std::size_t rows_of_grain;

  // A function of the team must not throw: what went wrong is kept for the caller.
  void run(std::uint32_t grain) {
    const std::size_t end = std::min(states.size(), (grain + 1) * rows_of_grain);
    for (std::size_t row = grain * rows_of_grain; row < end; ++row) {
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
            {std::vector<Sampled>(states.size()), std::vector<std::string>(states.size())},
            states.size() / SharedWork::MOST_GRAINS + 1};
  const std::size_t grains = (states.size() + work.rows_of_grain - 1) / work.rows_of_grain;
  const ThreadTeam::Phase phase{static_cast<std::uint32_t>(grains), true};
  const auto run = [](void *context, int, std::uint32_t, std::uint32_t begin, std::uint32_t end) {
    for (; begin < end; ++begin) static_cast<Work *>(context)->run(begin);
  };
  if (grains <= 1)
    run(&work, 0, 0, 0, phase.grains);
  else
    team.run({&phase, 1}, run, &work);
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
