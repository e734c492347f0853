// Chooses the next token of one request from a row of logits.
//
// What acts on the row, in this order: logit bias; repetition penalty (over prompt and output, as
// Hugging Face and vLLM have it), frequency and presence penalties (over the output); temperature;
// min-p, top-k, top-p; one draw.  Among equal logits the lower token comes first, so top-k 1 is greedy.
// Log probabilities are those of the row as the model gave it, before anything acts on it.
//
// Contract: the token depends only on the parameters, the tokens observed and the row: not on other
// requests, threads or time.  The draw for the n-th token of the output uses number n of the seed's
// sequence, so that a request computed again after preemption goes on as it would have.
// Ownership: a SamplerState belongs to one request; the row is only read.
// Failure: Error for parameters out of range, a row of the wrong size, a row without a finite maximum.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ingot {

struct SamplerParams {
  float temperature = 1.0f;  // 0: greedy
  std::int64_t top_k = 0;  // ≤ 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::vector<std::pair<std::int32_t, float>> logit_bias;
  std::uint64_t seed = 0;
  std::optional<std::int64_t> logprobs;  // how many of the most likely tokens to report as well
};

struct Sampled {
  std::int32_t token;
  std::optional<float> logprob;
  std::vector<std::pair<std::int32_t, float>> top;  // the most likely tokens, best first
};

class SamplerState {
 public:
  SamplerState(SamplerParams params, std::int64_t vocab_size,
               std::span<const std::int32_t> prompt);

  Sampled sample(std::span<const float> logits) const;
  void observe(std::int32_t token);  // the token joins the output

  std::uint64_t observed() const { return observed_; }
  std::int64_t vocab_size() const { return vocab_size_; }

 private:
  bool changes_logits() const;
  bool penalises() const;
  void check_token(std::int32_t token) const;
  void apply(std::span<float> row) const;
  std::int32_t draw(std::span<const float> row) const;
  void report(std::span<const float> logits, Sampled &sampled) const;

  SamplerParams params_;
  std::int64_t vocab_size_;
  std::uint64_t observed_ = 0;
  std::unordered_map<std::int32_t, std::int32_t> counts_;  // token → times in the output; 0: prompt
};

}  // namespace ingot
