#include "executor.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "error.h"

namespace ingot {
namespace {

StepLimits make_limits(const Plan &plan, std::int64_t max_step_tokens, std::int64_t pages,
                       std::int64_t state_slots) {
  plan.validate();
  if (max_step_tokens < 1 || max_step_tokens > 1 << 20)
    fail("steps of ", max_step_tokens, " tokens: expected 1 to ", 1 << 20);
  if (pages < 1 || pages * plan.page_tokens > INT32_MAX)
    fail("a KV cache of ", pages, " pages: expected 1 to ", INT32_MAX / plan.page_tokens);
  if (!plan.state_bytes.empty() && (state_slots < 1 || state_slots > 1 << 20))
    fail("states of ", state_slots, " sequences: expected 1 to ", 1 << 20);
  const std::int64_t capacity = (max_step_tokens + 15) / 16 * 16;
  return {plan.vocab_size, plan.max_positions, plan.page_tokens, pages, capacity, plan.width(),
          plan.token_types, plan.row_width > 0, plan.state_bytes.empty() ? 0 : state_slots};
}

// The bytes of a page, or of a sequence's state, in all pools before one.
std::int64_t bytes_before(const std::vector<std::int64_t> &bytes, std::int64_t pool) {
  return std::accumulate(bytes.begin(), bytes.begin() + pool, std::int64_t{0});
}

// Marks the executor as running for as long as it lives.
class BusyGuard {
 public:
  explicit BusyGuard(std::atomic<bool> &busy) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire)) fail("a step is already running");
  }
  ~BusyGuard() { busy_.store(false, std::memory_order_release); }
  BusyGuard(const BusyGuard &) = delete;
  BusyGuard &operator=(const BusyGuard &) = delete;

 private:
  std::atomic<bool> &busy_;
};

}  // namespace

Executor::Executor(Plan plan, std::int64_t max_step_tokens, std::int64_t pages,
                   std::int64_t state_slots, int threads)
    : plan_(std::move(plan)),
      limits_(make_limits(plan_, max_step_tokens, pages, state_slots)),
      inputs_(limits_),
      arena_(std::make_shared<MappedMemory>(plan_.arena_bytes_per_row() * limits_.capacity)),
      kv_cache_(plan_.kv_bytes_per_page() * pages),
      states_(plan_.state_bytes_per_sequence() * limits_.state_slots),
      scratch_(SCRATCH_BYTES * static_cast<std::size_t>(std::max(threads, 1))),
      counters_(plan_.launches.size()),
      team_(threads) {
  resolve_slots();
  dispatches_.reserve(plan_.launches.size());
}

void Executor::resolve_slots() {
  slots_.reserve(plan_.launches.size());
  for (const Launch &launch : plan_.launches) {
    std::vector<std::int64_t> &values = slots_.emplace_back(launch.slots.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Slot &slot = launch.slots[i];
      if (slot.kind < SlotKind::tokens)
        values[i] = fixed_value(slot);
      else
        patches_.push_back({&values[i], slot.kind});
    }
  }
}

std::int64_t Executor::fixed_value(const Slot &slot) const {
  const auto address = [](const void *pointer) { return reinterpret_cast<std::int64_t>(pointer); };
  switch (slot.kind) {
    case SlotKind::buffer:
      return address(arena_->data()) +
             plan_.buffers[slot.index].offset_bytes * limits_.capacity + slot.offset;
    case SlotKind::weight:
      return static_cast<std::int64_t>(plan_.weights[slot.index].address) + slot.offset;
    case SlotKind::kv:
      return address(kv_cache_.data()) +
             limits_.pages * bytes_before(plan_.kv_page_bytes, slot.index);
    case SlotKind::state:
      return address(states_.data()) +
             limits_.state_slots * bytes_before(plan_.state_bytes, slot.index);
    default:
      return slot.offset;
  }
}

std::int64_t Executor::step_value(SlotKind kind) const {
  const auto address = [](const void *pointer) { return reinterpret_cast<std::int64_t>(pointer); };
  switch (kind) {
    case SlotKind::tokens: return inputs_.tokens();
    case SlotKind::rows: return inputs_.rows();
    case SlotKind::token_ids: return address(inputs_.token_ids());
    case SlotKind::positions: return address(inputs_.positions());
    case SlotKind::row_ids: return address(inputs_.row_ids());
    case SlotKind::slots: return address(inputs_.slots());
    case SlotKind::tasks: return address(inputs_.tasks());
    case SlotKind::block_tables: return address(inputs_.block_tables());
    case SlotKind::token_types: return address(inputs_.token_types());
    case SlotKind::starts: return address(inputs_.starts());
    case SlotKind::sequences: return address(inputs_.sequences());
    default: return inputs_.block_stride();
  }
}

std::int64_t Executor::units_of(const Launch &launch) const {
  const std::int64_t rows = launch.rows == Rows::tokens ? inputs_.tokens() : inputs_.rows();
  if (rows == 0) return 0;
  switch (launch.unit_kind) {
    case UnitKind::per_row: return launch.units * rows;
    case UnitKind::tasks: return launch.units * inputs_.task_count();
    case UnitKind::sequences: return launch.units * inputs_.sequence_count();
    default: return launch.units;
  }
}

void Executor::prepare() {
  for (const Patch &patch : patches_) *patch.slot = step_value(patch.kind);
  dispatches_.clear();
  for (std::size_t i = 0; i < plan_.launches.size(); ++i) {
    const Launch &launch = plan_.launches[i];
    const std::int64_t units = units_of(launch);
    if (units > 0) {
      const std::int64_t rows = launch.rows == Rows::tokens ? inputs_.tokens() : inputs_.rows();
      const auto variant = std::find_if(
          launch.variants.begin(), launch.variants.end(),
          [rows](const Variant &v) { return v.max_rows == -1 || rows <= v.max_rows; });
      counters_[i].next.store(0, std::memory_order_relaxed);
      dispatches_.push_back({reinterpret_cast<Kernel>(variant->kernel), slots_[i].data(), units,
                             launch.grain, i,
                             launch.unit_kind == UnitKind::tasks ||
                                 launch.unit_kind == UnitKind::sequences,
                             launch.barrier});
    } else if (launch.barrier && !dispatches_.empty()) {
      dispatches_.back().barrier = true;  // it also stood for the launches before it
    }
  }
  if (!dispatches_.empty()) dispatches_.back().barrier = false;  // the team waits anyway
}

Logits Executor::step(const Batch &batch) {
  const BusyGuard guard(busy_);
  inputs_.fill(batch);
  prepare();
  profile_.clear();
  team_.run([](void *self, int member) { static_cast<Executor *>(self)->run_member(member); },
            this);
  const Buffer &logits = plan_.buffers[plan_.logits];
  std::byte *data = arena_->data() + logits.offset_bytes * limits_.capacity;
  return {reinterpret_cast<float *>(data), inputs_.rows(),
          logits.row_bytes / static_cast<std::int64_t>(sizeof(float)), arena_};
}

void Executor::run_member(int member) {
  using Clock = std::chrono::steady_clock;
  void *scratch = scratch_.data() + SCRATCH_BYTES * static_cast<std::size_t>(member);
  const bool timing = profiling_ && member == 0;
  Clock::time_point before = timing ? Clock::now() : Clock::time_point{};
  for (const Dispatch &dispatch : dispatches_) {
    if (dispatch.shared)
      run_in_turn(dispatch, scratch);
    else
      run_share(dispatch, member, scratch);
    if (dispatch.barrier) team_.barrier();
    if (timing) {
      const Clock::time_point now = Clock::now();
      const std::chrono::duration<double> seconds = now - before;
      profile_.push_back({plan_.launches[dispatch.launch].name, seconds.count()});
      before = now;
    }
  }
}

void Executor::run_share(const Dispatch &dispatch, int member, void *scratch) {
  const std::int64_t grains = (dispatch.units + dispatch.grain - 1) / dispatch.grain;
  const std::int64_t begin = grains * member / team_.size() * dispatch.grain;
  const std::int64_t end =
      std::min(dispatch.units, grains * (member + 1) / team_.size() * dispatch.grain);
  if (begin < end) dispatch.kernel(dispatch.slots, begin, end, scratch);
}

void Executor::run_in_turn(const Dispatch &dispatch, void *scratch) {
  std::atomic<std::int64_t> &next = counters_[dispatch.launch].next;
  for (;;) {
    const std::int64_t begin = next.fetch_add(dispatch.grain, std::memory_order_relaxed);
    if (begin >= dispatch.units) return;
    dispatch.kernel(dispatch.slots, begin, std::min(dispatch.units, begin + dispatch.grain),
                    scratch);
  }
}

}  // namespace ingot
