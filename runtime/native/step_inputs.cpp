#include "step_inputs.h"

#include <algorithm>

#include "error.h"

namespace ingot {
namespace {

// The first of `values` outside [0, end), or -1 where there is none.
std::int64_t first_outside(std::span<const std::int32_t> values, std::int64_t end) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0 || values[i] >= end) return static_cast<std::int64_t>(i);
  return -1;
}

void check_range(const char *name, std::span<const std::int32_t> values, std::int64_t end) {
  const std::int64_t bad = first_outside(values, end);
  if (bad >= 0) fail(name, "[", bad, "] is ", values[bad], ", outside 0 … ", end - 1);
}

void check_ascending(const char *name, std::span<const std::int32_t> values) {
  for (std::size_t i = 1; i < values.size(); ++i)
    if (values[i] <= values[i - 1]) fail(name, "[", i, "] is not above the one before it");
}

void copy_padded(std::span<const std::int32_t> from, std::vector<std::int32_t> &to) {
  std::copy(from.begin(), from.end(), to.begin());
  std::fill_n(to.begin() + static_cast<std::ptrdiff_t>(from.size()), StepInputs::PADDING, 0);
}

struct Task {
  std::int32_t first, count, position, table;
  std::int32_t end;  // tokens of the sequence after this step
  // Reading K and V for every position up to the last token is what a task costs.
  std::int64_t cost() const { return std::int64_t{count} * (position + count); }
};

}  // namespace

StepInputs::StepInputs(const StepLimits &limits) : limits_(limits) {
  const std::size_t size = static_cast<std::size_t>(limits.capacity + PADDING);
  for (auto *array : {&token_ids_, &positions_, &row_ids_, &slots_, &token_types_}) array->resize(size);
  starts_.resize(size + 1);
  tasks_.resize(size * TASK_WORDS);  // one a token at most
  sequences_.resize(size * SEQUENCE_WORDS);
}

void StepInputs::fill(const Batch &batch) {
  check(batch);
  tokens_ = static_cast<std::int64_t>(batch.token_ids.size());
  rows_ = static_cast<std::int64_t>(batch.row_ids.size());
  block_stride_ = batch.blocks;
  copy_padded(batch.token_ids, token_ids_);
  copy_padded(batch.positions, positions_);
  copy_padded(batch.row_ids, row_ids_);
  copy_padded(batch.starts, starts_);
  if (batch.token_types.empty())
    std::fill_n(token_types_.begin(), tokens_ + PADDING, 0);
  else
    copy_padded(batch.token_types, token_types_);
  // Entries that no token needs stay 0: whatever the engine left there, a kernel can prefetch it.
  block_tables_.assign(static_cast<std::size_t>(batch.sequences * batch.blocks + PADDING), 0);
  for (std::int64_t sequence = 0; sequence < batch.sequences; ++sequence)
    fill_slots(batch, sequence);
  std::fill_n(slots_.begin() + tokens_, PADDING, 0);
  fill_tasks(batch);
  fill_sequences(batch);
}

void StepInputs::check(const Batch &batch) const {
  const std::int64_t tokens = static_cast<std::int64_t>(batch.token_ids.size());
  if (tokens < 1 || tokens > limits_.capacity)
    fail("a step of ", tokens, " tokens: expected 1 to ", limits_.capacity);
  if (batch.positions.size() != batch.token_ids.size())
    fail(batch.positions.size(), " positions for ", tokens, " tokens");
  const auto &starts = batch.starts;
  if (starts.size() < 2 || starts.front() != 0 || starts.back() != tokens)
    fail("starts does not run from 0 to the number of tokens, ", tokens);
  check_ascending("starts", starts);
  if (batch.sequences != static_cast<std::int64_t>(starts.size()) - 1)
    fail("block_tables has ", batch.sequences, " rows for ", starts.size() - 1, " sequences");
  if (batch.sequences * batch.blocks > INT32_MAX) fail("block_tables is too large");
  check_range("token_ids", batch.token_ids, limits_.vocab_size);
  check_range("positions", batch.positions, limits_.max_positions);
  check_range("row_ids", batch.row_ids, tokens);
  check_ascending("row_ids", batch.row_ids);
  check_pooled(batch);
  check_states(batch);
  for (std::int64_t sequence = 0; sequence < batch.sequences; ++sequence)
    check_sequence(batch, sequence);
}

void StepInputs::check_pooled(const Batch &batch) const {
  if (!batch.token_types.empty() && batch.token_types.size() != batch.token_ids.size())
    fail(batch.token_types.size(), " token types for ", batch.token_ids.size(), " tokens");
  check_range("token_types", batch.token_types, std::max<std::int64_t>(limits_.token_types, 1));
  if (!limits_.pooled) return;
  if (static_cast<std::int64_t>(batch.row_ids.size()) != batch.sequences)
    fail(batch.row_ids.size(), " rows wanted of ", batch.sequences, " sequences, each gives one");
  for (std::int64_t sequence = 0; sequence < batch.sequences; ++sequence)
    if (batch.positions[batch.starts[sequence]] != 0)
      fail("sequence ", sequence, " is not whole");
}

void StepInputs::check_states(const Batch &batch) const {
  if (limits_.state_slots == 0) return;
  const auto &slots = batch.state_slots;
  if (static_cast<std::int64_t>(slots.size()) != batch.sequences)
    fail(slots.size(), " state slots for ", batch.sequences, " sequences");
  check_range("state_slots", slots, limits_.state_slots);
  std::vector<std::int32_t> sorted(slots.begin(), slots.end());
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    fail("two sequences have one state slot");
}

void StepInputs::check_sequence(const Batch &batch, std::int64_t sequence) const {
  const std::int64_t begin = batch.starts[sequence], end = batch.starts[sequence + 1];
  for (std::int64_t token = begin + 1; token < end; ++token)
    if (batch.positions[token] != batch.positions[token - 1] + 1)
      fail("positions[", token, "] does not follow the one before it");
  const std::int64_t needed = batch.positions[end - 1] / limits_.page_tokens + 1;
  if (needed > batch.blocks)
    fail("sequence ", sequence, " needs ", needed, " pages, its block table has ", batch.blocks);
  const auto pages = batch.block_tables.subspan(sequence * batch.blocks, needed);
  const std::int64_t bad = first_outside(pages, limits_.pages);
  if (bad >= 0)
    fail("block_tables[", sequence, "][", bad, "] is ", pages[bad], ", outside 0 … ",
         limits_.pages - 1);
}

void StepInputs::fill_slots(const Batch &batch, std::int64_t sequence) {
  const std::int64_t begin = batch.starts[sequence], end = batch.starts[sequence + 1];
  const std::int64_t needed = batch.positions[end - 1] / limits_.page_tokens + 1;
  const auto pages = batch.block_tables.subspan(sequence * batch.blocks, needed);
  std::copy(pages.begin(), pages.end(), block_tables_.begin() + sequence * batch.blocks);
  for (std::int64_t token = begin; token < end; ++token) {
    const std::int64_t position = batch.positions[token];
    const std::int64_t page = pages[position / limits_.page_tokens];
    slots_[token] = static_cast<std::int32_t>(page * limits_.page_tokens +
                                              position % limits_.page_tokens);
  }
}

void StepInputs::fill_sequences(const Batch &batch) {
  sequence_count_ = batch.sequences;
  std::int32_t *words = sequences_.data();
  for (std::int64_t sequence = 0; sequence < batch.sequences; ++sequence) {
    const std::int32_t begin = batch.starts[sequence];
    *words++ = begin;
    *words++ = batch.starts[sequence + 1] - begin;
    *words++ = batch.positions[begin];
    *words++ = limits_.state_slots == 0 ? 0 : batch.state_slots[sequence];
  }
}

void StepInputs::fill_tasks(const Batch &batch) {
  std::vector<Task> tasks;
  for (std::int64_t sequence = 0; sequence < batch.sequences; ++sequence) {
    const std::int64_t end = batch.starts[sequence + 1];
    const std::int32_t total = batch.positions[end - 1] + 1;
    for (std::int64_t token = batch.starts[sequence]; token < end; token += TASK_TOKENS)
      tasks.push_back({static_cast<std::int32_t>(token),
                       static_cast<std::int32_t>(std::min(TASK_TOKENS, end - token)),
                       batch.positions[token], static_cast<std::int32_t>(sequence * batch.blocks),
                       total});
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task &a, const Task &b) { return a.cost() > b.cost(); });
  task_count_ = static_cast<std::int64_t>(tasks.size());
  std::int32_t *words = tasks_.data();
  for (const Task &task : tasks) {
    for (std::int32_t word : {task.first, task.count, task.position, task.table, task.end, 0, 0, 0})
      *words++ = word;
  }
}

}  // namespace ingot
