// Runs a plan: one thread team walks through the launches of a step together.
//
// Contract: step() checks and copies the batch, then runs every launch in one dispatch of the team,
// with a barrier only after launches that ask for one.  Launches with a fixed number of units or units
// for each row are split into one contiguous share a thread; those over attention tasks or sequences are
// taken in turn, `grain` units at a time, as their costs differ.  The logits stay valid until the next step().
// Ownership: the executor owns the arena, the KV cache, the states and the threads; kernels and weights belong to
// the caller and must outlive it.  The arena is shared with whoever holds a view of the logits.
// Failure: Error from the constructor (plan, sizes, memory) and from step() (batch, before anything is
// written; or a second step() while one is running).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "memory.h"
#include "plan.h"
#include "step_inputs.h"
#include "thread_team.h"

namespace ingot {

struct Logits {
  float *data;
  std::int64_t rows;
  std::int64_t row_stride;  // in floats
  std::shared_ptr<MappedMemory> owner;
};

struct LaunchTime {
  std::string name;
  double seconds;  // on member 0, waiting for the others included
};

class Executor {
 public:
  static constexpr std::size_t SCRATCH_BYTES = std::size_t{256} << 10;

  Executor(Plan plan, std::int64_t max_step_tokens, std::int64_t pages, std::int64_t state_slots,
           int threads);

  Logits step(const Batch &batch);

  int threads() const { return team_.size(); }
  ThreadTeam &team() { return team_; }  // for work between steps
  const StepLimits &limits() const { return limits_; }
  void set_profiling(bool on) { profiling_ = on; }
  std::vector<LaunchTime> last_profile() const { return profile_; }

 private:
  struct Patch {  // a slot whose value changes from step to step
    std::int64_t *slot;
    SlotKind kind;
  };
  struct Dispatch {  // a launch as it runs in this step
    Kernel kernel;
    const std::int64_t *slots;
    std::int64_t units;
    std::int64_t grain;
    std::size_t launch;
    bool shared;  // units are taken in turn
    bool barrier;
  };
  struct alignas(64) Counter {
    std::atomic<std::int64_t> next{0};
  };

  void resolve_slots();
  std::int64_t fixed_value(const Slot &slot) const;
  std::int64_t step_value(SlotKind kind) const;
  std::int64_t units_of(const Launch &launch) const;
  void prepare();
  void run_member(int member);
  void run_share(const Dispatch &dispatch, int member, void *scratch);
  void run_in_turn(const Dispatch &dispatch, void *scratch);

  const Plan plan_;
  const StepLimits limits_;
  StepInputs inputs_;
  std::shared_ptr<MappedMemory> arena_;
  MappedMemory kv_cache_;
  MappedMemory states_;
  MappedMemory scratch_;
  std::vector<std::vector<std::int64_t>> slots_;
  std::vector<Patch> patches_;
  std::vector<Counter> counters_;
  std::vector<Dispatch> dispatches_;
  std::vector<LaunchTime> profile_;
  bool profiling_ = false;
  std::atomic<bool> busy_{false};
  ThreadTeam team_;
};

}  // namespace ingot
