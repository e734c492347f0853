// The inputs of one step, checked and put where the kernels read them.
//
// Contract: fill() checks every number of the batch against the limits, then derives each token's slot
// in the KV cache and the attention tasks (up to TASK_TOKENS tokens of one sequence; the ones with the
// most to read first, so that threads that take tasks in turn finish together).  Arrays have a tail of
// zeros of at least PADDING entries, so kernels may read whole tiles.
// Ownership: the arrays belong to the object and stay where they are until the next fill().
// Failure: Error, before anything that the kernels see is changed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ingot {

struct StepLimits {
  std::int64_t vocab_size;
  std::int64_t max_positions;
  std::int64_t page_tokens;
  std::int64_t pages;
  std::int64_t capacity;  // tokens in a step
  std::int64_t width;  // of a result's row
  std::int64_t token_types;
  bool pooled;  // a row a sequence, which is whole
  std::int64_t state_slots;  // sequences whose state is held; 0: the model has none
};

// A batch as the engine gives it; block_tables is [sequences, blocks], row-major.
struct Batch {
  std::span<const std::int32_t> token_ids;
  std::span<const std::int32_t> positions;
  std::span<const std::int32_t> starts;
  std::span<const std::int32_t> block_tables;
  std::int64_t sequences;
  std::int64_t blocks;
  std::span<const std::int32_t> row_ids;
  std::span<const std::int32_t> token_types;  // empty: all 0
  std::span<const std::int32_t> state_slots;  // of each sequence; read where the model has state
};

class StepInputs {
 public:
  static constexpr std::int64_t TASK_TOKENS = 8;
  static constexpr std::int64_t TASK_WORDS = 8;
  static constexpr std::int64_t SEQUENCE_WORDS = 4;  // first token, tokens, position, state slot
  static constexpr std::int64_t PADDING = 16;

  explicit StepInputs(const StepLimits &limits);
  void fill(const Batch &batch);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t task_count() const { return task_count_; }
  std::int64_t sequence_count() const { return sequence_count_; }
  std::int64_t block_stride() const { return block_stride_; }
  const std::int32_t *token_ids() const { return token_ids_.data(); }
  const std::int32_t *positions() const { return positions_.data(); }
  const std::int32_t *row_ids() const { return row_ids_.data(); }
  const std::int32_t *slots() const { return slots_.data(); }
  const std::int32_t *tasks() const { return tasks_.data(); }
  const std::int32_t *block_tables() const { return block_tables_.data(); }
  const std::int32_t *token_types() const { return token_types_.data(); }
  const std::int32_t *starts() const { return starts_.data(); }
  const std::int32_t *sequences() const { return sequences_.data(); }

 private:
  void check(const Batch &batch) const;
  void check_pooled(const Batch &batch) const;
  void check_sequence(const Batch &batch, std::int64_t sequence) const;
  void check_states(const Batch &batch) const;
  void fill_sequences(const Batch &batch);
  void fill_slots(const Batch &batch, std::int64_t sequence);
  void fill_tasks(const Batch &batch);

  const StepLimits limits_;
  std::int64_t tokens_ = 0, rows_ = 0, task_count_ = 0, sequence_count_ = 0, block_stride_ = 0;
  std::vector<std::int32_t> token_ids_, positions_, row_ids_, slots_, tasks_, block_tables_;
  std::vector<std::int32_t> token_types_, starts_, sequences_;
};

}  // namespace ingot
