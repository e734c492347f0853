#include "executor.h"

#include <algorithm>
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

constexpr std::int64_t UNITS_TOGETHER = 4;

bool in_turn(const Launch &launch) {
  return launch.unit_kind == UnitKind::tasks || launch.unit_kind == UnitKind::sequences;
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
      team_(threads, plan_.launches.size()) {
  resolve_slots();
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
  phases_.clear();
  phase_begins_.clear();
  bool begins_phase = true;
  for (std::size_t i = 0; i < plan_.launches.size(); ++i) {
    const std::int64_t units = units_of(plan_.launches[i]);
    if (units > 0) {
      add_dispatch(i, units, begins_phase || profiling_);
      begins_phase = false;
    }
    begins_phase |= plan_.launches[i].barrier;  // it also stands for the launches before it
  }
  phase_begins_.push_back(dispatches_.size());
}

void Executor::add_dispatch(std::size_t index, std::int64_t units, bool begins_phase) {
  const Launch &launch = plan_.launches[index];
  const std::int64_t rows = launch.rows == Rows::tokens ? inputs_.tokens() : inputs_.rows();
  const auto variant =
      std::find_if(launch.variants.begin(), launch.variants.end(),
                   [rows](const Variant &v) { return v.max_rows == -1 || rows <= v.max_rows; });
  const std::int64_t grain = grain_of(launch, units);
  const std::uint32_t grains = static_cast<std::uint32_t>((units + grain - 1) / grain);
  if (begins_phase || phases_.back().grains + grains > SharedWork::MOST_GRAINS) {
    phase_begins_.push_back(dispatches_.size());
    phases_.push_back({0, false});
  }
  ThreadTeam::Phase &phase = phases_.back();
  dispatches_.push_back({reinterpret_cast<Kernel>(variant->kernel), slots_[index].data(), units,
                         grain, phase.grains, grains, index});
  phase.grains += grains;
  phase.in_turn |= in_turn(launch);
}

std::int64_t Executor::grain_of(const Launch &launch, std::int64_t units) const {
  // Kernels are at their best with some units at once, as long as all members get enough of them.
  std::int64_t together = in_turn(launch) ? 1 : UNITS_TOGETHER;
  while (together > 1 && units / (launch.grain * together) < 4 * team_.size()) together /= 2;
  return std::max(launch.grain * together, units / SharedWork::MOST_GRAINS + 1);
}

Logits Executor::step(const Batch &batch) {
  const BusyGuard guard(busy_);
  inputs_.fill(batch);
  prepare();
  std::vector<PhaseTime> times(profiling_ ? phases_.size() : 0);
  team_.run(
      phases_,
      [](void *self, int member, std::uint32_t phase, std::uint32_t begin, std::uint32_t end) {
        static_cast<Executor *>(self)->execute(member, phase, begin, end);
      },
      this, profiling_ ? times.data() : nullptr);
  note_times(times);
  const Buffer &logits = plan_.buffers[plan_.logits];
  std::byte *data = arena_->data() + logits.offset_bytes * limits_.capacity;
  return {reinterpret_cast<float *>(data), inputs_.rows(),
          logits.row_bytes / static_cast<std::int64_t>(sizeof(float)), arena_};
}

void Executor::execute(int member, std::uint32_t phase, std::uint32_t begin, std::uint32_t end) {
  void *scratch = scratch_.data() + SCRATCH_BYTES * static_cast<std::size_t>(member);
  for (std::size_t i = phase_begins_[phase]; i < phase_begins_[phase + 1]; ++i) {
    const Dispatch &dispatch = dispatches_[i];
    const std::int64_t first = std::max(begin, dispatch.first);
    const std::int64_t last = std::min(end, dispatch.first + dispatch.grains);
    if (first < last)
      dispatch.kernel(dispatch.slots, (first - dispatch.first) * dispatch.grain,
                      std::min(dispatch.units, (last - dispatch.first) * dispatch.grain), scratch);
  }
}

void Executor::note_times(const std::vector<PhaseTime> &times) {
  profile_.clear();
  for (std::size_t phase = 0; phase < times.size(); ++phase) {  // of one launch each
    const std::size_t launch = dispatches_[phase_begins_[phase]].launch;
    profile_.push_back({plan_.launches[launch].name, times[phase].seconds, times[phase].waiting});
  }
}

}  // namespace ingot
