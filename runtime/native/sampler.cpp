#include "sampler.h"

#include <algorithm>
#include <cmath>

#include "distribution.h"
#include "error.h"
#include "random.h"
#include "row_math.h"

namespace ingot {
namespace {

// Below this a draw could only repeat the best token, and 1 / temperature would leave float32.
constexpr float GREEDY_BELOW = 1e-5f;

void check(bool holds, const char *name, const char *wanted) {
  if (!holds) fail(name, ": expected ", wanted);
}

void check_params(const SamplerParams &params) {
  check(params.temperature >= 0 && std::isfinite(params.temperature), "temperature", "≥ 0");
  check(params.top_p > 0 && params.top_p <= 1, "top_p", "a number in (0, 1]");
  check(params.min_p >= 0 && params.min_p <= 1, "min_p", "a number in [0, 1]");
  check(params.repetition_penalty > 0 && std::isfinite(params.repetition_penalty),
        "repetition_penalty", "> 0");
  check(std::isfinite(params.presence_penalty), "presence_penalty", "a finite number");
  check(std::isfinite(params.frequency_penalty), "frequency_penalty", "a finite number");
  check(params.logprobs.value_or(0) >= 0, "logprobs", "≥ 0");
  for (const auto &[token, bias] : params.logit_bias)
    check(std::isfinite(bias), "logit_bias", "finite numbers");
}

}  // namespace

SamplerState::SamplerState(SamplerParams params, std::int64_t vocab_size,
                           std::span<const std::int32_t> prompt)
    : params_(std::move(params)), vocab_size_(vocab_size) {
  check_params(params_);
  if (vocab_size < 1 || vocab_size > INT32_MAX) fail("vocab_size: ", vocab_size);
  for (const auto &[token, bias] : params_.logit_bias) check_token(token);
  if (params_.repetition_penalty == 1.0f) return;
  for (const std::int32_t token : prompt) {
    check_token(token);
    counts_.try_emplace(token, 0);
  }
}

void SamplerState::check_token(std::int32_t token) const {
  if (token < 0 || token >= vocab_size_)
    fail("token ", token, " is outside 0 … ", vocab_size_ - 1);
}

bool SamplerState::penalises() const {
  return params_.repetition_penalty != 1.0f || params_.presence_penalty != 0.0f ||
         params_.frequency_penalty != 0.0f;
}

bool SamplerState::changes_logits() const {
  return !params_.logit_bias.empty() || (penalises() && !counts_.empty());
}

void SamplerState::observe(std::int32_t token) {
  check_token(token);
  ++observed_;
  if (penalises()) ++counts_[token];
}

Sampled SamplerState::sample(std::span<const float> logits) const {
  if (static_cast<std::int64_t>(logits.size()) != vocab_size_)
    fail("a row of ", logits.size(), " logits: expected ", vocab_size_);
  Sampled sampled{};
  if (changes_logits()) {
    std::vector<float> row(logits.begin(), logits.end());
    apply(row);
    sampled.token = draw(row);
  } else {
    sampled.token = draw(logits);
  }
  if (params_.logprobs) report(logits, sampled);
  return sampled;
}

void SamplerState::apply(std::span<float> row) const {
  for (const auto &[token, bias] : params_.logit_bias) row[token] += bias;
  for (const auto &[token, count] : counts_) {
    float &logit = row[token];
    logit = logit > 0 ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
    if (count == 0) continue;
    logit -= params_.frequency_penalty * static_cast<float>(count);
    logit -= params_.presence_penalty;
  }
}

std::int32_t SamplerState::draw(std::span<const float> row) const {
  if (params_.temperature < GREEDY_BELOW) {
    const float maximum = row_maximum(row);
    if (!std::isfinite(maximum)) fail("the logits hold no finite maximum");
    return static_cast<std::int32_t>(first_equal(row, maximum));
  }
  Distribution distribution(row, params_.temperature);
  if (params_.min_p > 0) distribution.keep_fraction_of_best(params_.min_p);
  if (params_.top_k > 0 && params_.top_k < vocab_size_)
    distribution.keep_most_likely(static_cast<std::size_t>(params_.top_k));
  if (params_.top_p < 1) distribution.keep_probability(static_cast<double>(params_.top_p));
  return distribution.draw(uniform(params_.seed, observed_));
}

void SamplerState::report(std::span<const float> logits, Sampled &sampled) const {
  const float maximum = row_maximum(logits);
  const double log_sum = std::log(exponential_sum(logits, maximum));
  const auto logprob = [&](std::int32_t token) {
    return static_cast<float>(static_cast<double>(logits[token]) - static_cast<double>(maximum) -
                              log_sum);
  };
  sampled.logprob = logprob(sampled.token);
  const auto wanted = static_cast<std::size_t>(std::min(*params_.logprobs, vocab_size_));
  if (wanted == 0) return;
  // A heap of the best so far, the worst of them on top: most elements fail the first comparison.
  const auto better = [&](std::int32_t a, std::int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  std::vector<std::int32_t> best;
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(logits.size()); ++token) {
    if (best.size() == wanted) {
      if (!better(token, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), better);
      best.pop_back();
    }
    best.push_back(token);
    std::push_heap(best.begin(), best.end(), better);
  }
  std::sort_heap(best.begin(), best.end(), better);
  for (const std::int32_t token : best) sampled.top.emplace_back(token, logprob(token));
}

}  // namespace ingot
