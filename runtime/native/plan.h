// A compiled step as data: buffers in one arena, and the kernel launches to walk through.
//
// The fields are those of plan.json (docs/architecture.md, section 5), with kernels and weights
// resolved to addresses.  Ownership: a Plan owns nothing but its description; kernels and weights must
// outlive the executor that runs it.  validate() throws Error for whatever does not fit together, so
// that the executor need not look again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ingot {

using Kernel = void (*)(const std::int64_t *slots, std::int64_t begin, std::int64_t end,
                        void *scratch);

enum class Rows { tokens, rows };
enum class UnitKind { count, per_row, tasks, sequences };

// What a slot holds; those from `tokens` on change from step to step.
enum class SlotKind {
  buffer,  // address of buffer `index`, plus `offset` bytes
  weight,  // address of weight `index`, plus `offset` bytes
  integer,  // `offset`
  kv,  // address of pool `index` of the KV cache
  state,  // address of pool `index` of the states
  tokens,
  rows,
  token_ids,
  positions,
  row_ids,
  slots,
  tasks,
  block_tables,
  block_stride,
  token_types,
  starts,
  sequences,
};

struct Buffer {
  std::string name;
  Rows rows;
  std::int64_t row_bytes;
  std::int64_t offset_bytes;  // for each row of capacity
};

struct Weight {
  std::string name;
  std::uintptr_t address;
  std::int64_t bytes;
};

struct Slot {
  SlotKind kind;
  std::int64_t index;
  std::int64_t offset;
};

struct Variant {
  std::int64_t max_rows;  // serves up to so many rows; -1: any number
  std::uintptr_t kernel;
};

struct Launch {
  std::string name;
  std::vector<Variant> variants;  // smallest max_rows first; the last serves any number
  Rows rows;
  UnitKind unit_kind;
  std::int64_t units;  // fixed, or for each row, attention task or sequence
  std::int64_t grain;
  bool barrier;  // what follows depends on this launch, or on one before it
  std::vector<Slot> slots;
};

struct Plan {
  std::int64_t vocab_size;
  std::int64_t max_positions;
  std::int64_t page_tokens;
  std::int64_t row_width;  // of a model that gives a row a sequence; 0: logits
  std::int64_t token_types;  // 0: the model does not read them
  std::vector<std::int64_t> kv_page_bytes;  // of each pool; attention layers may share one
  std::vector<std::int64_t> state_bytes;  // a sequence, of each pool of states
  std::int64_t logits;  // index of the buffer; float32
  std::vector<Buffer> buffers;
  std::vector<Weight> weights;
  std::vector<Launch> launches;

  void validate() const;
  std::int64_t arena_bytes_per_row() const;
  std::int64_t width() const { return row_width > 0 ? row_width : vocab_size; }  // of a result's row
  std::int64_t kv_bytes_per_page() const;  // of one page in all pools together
  std::int64_t state_bytes_per_sequence() const;  // in all pools together
};

}  // namespace ingot
