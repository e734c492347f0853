#include "batch_sampler.h"

#include <atomic>
#include <string>

#include "error.h"

namespace ingot {
namespace {

struct Work {
  const std::vector<const SamplerState *> &states;
  const float *logits;
  std::int64_t row_stride;
  std::vector<Sampled> results;
  std::vector<std::string> errors;
  std::atomic<std::size_t> next{0};

  // A function of the team must not throw: what went wrong is kept for the caller.
  void run() {
    for (std::size_t row; (row = next.fetch_add(1)) < states.size();) {
      const float *begin = logits + static_cast<std::int64_t>(row) * row_stride;
      const SamplerState &state = *states[row];
      try {
        results[row] = state.sample({begin, static_cast<std::size_t>(state.vocab_size())});
      } catch (const std::exception &error) {
        errors[row] = error.what();
      }
    }
  }
};

}  // namespace

std::vector<Sampled> BatchSampler::sample(const std::vector<const SamplerState *> &states,
                                          const float *logits, std::int64_t row_stride) {
  Work work{states, logits, row_stride, std::vector<Sampled>(states.size()),
            std::vector<std::string>(states.size())};
  if (states.size() <= 1)
    work.run();
  else
    team_.run([](void *context, int) { static_cast<Work *>(context)->run(); }, &work);
  for (std::size_t row = 0; row < states.size(); ++row)
    if (!work.errors[row].empty()) fail("row ", row, ": ", work.errors[row]);
  return std::move(work.results);
}

}  // namespace ingot
