#include "plan.h"

#include <algorithm>
#include <numeric>

#include "error.h"

namespace ingot {
namespace {

constexpr std::int64_t CACHE_LINE = 64;
constexpr std::int64_t MOST = std::int64_t{1} << 40;  // keeps every product here within 64 bits

void expect(bool holds, const std::string &where, const char *what) {
  if (!holds) fail("plan: ", where, ": ", what);
}

bool within(std::int64_t value, std::int64_t low, std::int64_t high) {
  return low <= value && value <= high;
}

template <typename T>
bool indexes(std::int64_t index, const std::vector<T> &items) {
  return within(index, 0, static_cast<std::int64_t>(items.size()) - 1);
}

void check_slot(const Plan &plan, const Launch &launch, const Slot &slot) {
  const std::string where = "launch " + launch.name;
  switch (slot.kind) {
    case SlotKind::buffer:
      expect(indexes(slot.index, plan.buffers), where, "a slot names a buffer that is not there");
      expect(within(slot.offset, 0, plan.buffers[slot.index].row_bytes), where,
             "a slot's offset lies outside of the buffer's row");
      break;
    case SlotKind::weight:
      expect(indexes(slot.index, plan.weights), where, "a slot names a weight that is not there");
      expect(within(slot.offset, 0, plan.weights[slot.index].bytes), where,
             "a slot's offset lies outside of the weight");
      break;
    case SlotKind::kv:
      expect(indexes(slot.index, plan.kv_page_bytes), where,
             "a slot names a layer of the KV cache that is not there");
      break;
    case SlotKind::state:
      expect(indexes(slot.index, plan.state_bytes), where, "a slot names a state that is not there");
      break;
    default:
      break;
  }
}

void check_variants(const Launch &launch) {
  const std::string where = "launch " + launch.name;
  expect(!launch.variants.empty(), where, "no kernel");
  std::int64_t before = 0;
  for (const Variant &variant : launch.variants) {
    expect(variant.kernel != 0, where, "a kernel without an address");
    const bool last = &variant == &launch.variants.back();
    expect(last ? variant.max_rows == -1 || variant.max_rows > before : variant.max_rows > before,
           where, "the kernels are not in the order of the rows they serve");
    before = variant.max_rows;
  }
  expect(before == -1, where, "no kernel serves every number of rows");
}

void check_limits(const Plan &plan) {
  const std::string where = "limits";
  expect(within(plan.vocab_size, 1, INT32_MAX), where, "vocab_size is out of range");
  expect(within(plan.max_positions, 1, INT32_MAX), where, "max_positions is out of range");
  expect(within(plan.page_tokens, 1, 1024), where, "page_tokens is out of range");
  expect(within(plan.row_width, 0, INT32_MAX), where, "row_width is out of range");
  expect(within(plan.token_types, 0, INT32_MAX), where, "token_types is out of range");
  for (const std::int64_t bytes : plan.kv_page_bytes)
    expect(within(bytes, 1, MOST) && bytes % CACHE_LINE == 0, where,
           "bytes_per_page is no multiple of 64");
  for (const std::int64_t bytes : plan.state_bytes)
    expect(within(bytes, 1, MOST) && bytes % CACHE_LINE == 0, where,
           "the bytes of a state are no multiple of 64");
}

}  // namespace

void Plan::validate() const {
  check_limits(*this);
  for (const Buffer &buffer : buffers)
    expect(within(buffer.row_bytes, 1, MOST) && within(buffer.offset_bytes, 0, MOST) &&
               buffer.row_bytes % CACHE_LINE == 0 && buffer.offset_bytes % CACHE_LINE == 0,
           "buffer " + buffer.name, "sizes and offsets are multiples of 64");
  expect(indexes(logits, buffers), "logits", "no such buffer");
  expect(buffers[logits].rows == Rows::rows &&
             buffers[logits].row_bytes >= width() * static_cast<std::int64_t>(sizeof(float)),
         "logits", "the buffer does not hold a row of float32 results for each row");
  for (const Weight &weight : weights)
    expect(weight.address != 0 && weight.address % CACHE_LINE == 0 && weight.bytes >= 0,
           "weight " + weight.name, "the address is no multiple of 64");
  expect(!launches.empty(), "launches", "there is none");
  for (const Launch &launch : launches) {
    expect(within(launch.units, 0, MOST) && within(launch.grain, 1, MOST), "launch " + launch.name,
           "units or grain are out of range");
    check_variants(launch);
    for (const Slot &slot : launch.slots) check_slot(*this, launch, slot);
  }
}

std::int64_t Plan::arena_bytes_per_row() const {
  std::int64_t bytes = 0;
  for (const Buffer &buffer : buffers)
    bytes = std::max(bytes, buffer.offset_bytes + buffer.row_bytes);
  return bytes;
}

std::int64_t Plan::kv_bytes_per_page() const {
  return std::accumulate(kv_page_bytes.begin(), kv_page_bytes.end(), std::int64_t{0});
}

std::int64_t Plan::state_bytes_per_sequence() const {
  return std::accumulate(state_bytes.begin(), state_bytes.end(), std::int64_t{0});
}

}  // namespace ingot
