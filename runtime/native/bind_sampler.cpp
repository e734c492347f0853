// Python: SamplerParams, SamplerState, Sampled, Sampler.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "batch_sampler.h"
#include "bindings.h"
#include "error.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

using Tokens = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Row = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Bias = std::vector<std::pair<std::int32_t, float>>;

SamplerParams make_params(float temperature, std::int64_t top_k, float top_p, float min_p,
                          float repetition_penalty, float presence_penalty,
                          float frequency_penalty, Bias logit_bias, std::uint64_t seed,
                          std::optional<std::int64_t> logprobs) {
  return {temperature,      top_k, top_p, min_p, repetition_penalty, presence_penalty,
          frequency_penalty, std::move(logit_bias), seed, logprobs};
}

Sampled sample_row(const SamplerState &state, const Row &logits) {
  const nb::gil_scoped_release release;
  return state.sample({logits.data(), logits.size()});
}

std::vector<Sampled> sample_batch(BatchSampler &sampler,
                                  const std::vector<const SamplerState *> &states,
                                  const Rows &logits) {
  if (logits.shape(0) != states.size())
    fail(logits.shape(0), " rows of logits for ", states.size(), " states");
  if (logits.shape(0) == 0) return {};
  if (logits.shape(1) > 1 && logits.stride(1) != 1) fail("the rows of logits are not contiguous");
  for (const SamplerState *state : states) {
    if (!state) fail("a state is None");
    if (state->vocab_size() != static_cast<std::int64_t>(logits.shape(1)))
      fail("rows of ", logits.shape(1), " logits: expected ", state->vocab_size());
  }
  const nb::gil_scoped_release release;
  return sampler.sample(states, logits.data(), logits.stride(0));
}

}  // namespace

void bind_sampler(nb::module_ &module) {
  nb::class_<SamplerParams>(module, "SamplerParams")
      .def(nb::new_(&make_params), nb::kw_only(), "temperature"_a = 1.0f, "top_k"_a = 0,
           "top_p"_a = 1.0f, "min_p"_a = 0.0f, "repetition_penalty"_a = 1.0f,
           "presence_penalty"_a = 0.0f, "frequency_penalty"_a = 0.0f, "logit_bias"_a = Bias{},
           "seed"_a = 0, "logprobs"_a = nb::none());
  nb::class_<Sampled>(module, "Sampled")
      .def_ro("token", &Sampled::token)
      .def_ro("logprob", &Sampled::logprob)
      .def_ro("top", &Sampled::top);
  nb::class_<SamplerState>(module, "SamplerState")
      .def(
          "__init__",
          [](SamplerState *self, const SamplerParams &params, std::int64_t vocab_size,
             const Tokens &prompt) {
            new (self) SamplerState(params, vocab_size, {prompt.data(), prompt.size()});
          },
          "params"_a, "vocab_size"_a, nb::arg("prompt").noconvert())
      .def("sample", &sample_row, nb::arg("logits").noconvert())
      .def("observe", &SamplerState::observe, "token"_a)
      .def_prop_ro("observed", &SamplerState::observed);
  nb::class_<BatchSampler>(module, "Sampler")
      .def(nb::init<int>(), "threads"_a = 1)
      .def("sample", &sample_batch, "states"_a, nb::arg("logits").noconvert());
}

}  // namespace ingot
