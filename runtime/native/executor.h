// Runs a plan: one thread team walks through the launches of a step together.
//
// Contract: step() checks and copies the batch, then runs every launch in one run of the team.  The
// launches up to one that asks for a barrier are a phase: nothing of the next phase begins before all of
// its units are done.  Each thread works through a contiguous share of a phase and helps the others
// when it is through; units over attention tasks or sequences are taken in turn, `grain` at a time,
// as their costs differ.  The logits stay valid until the next step().
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
  double seconds;  // on the calling thread, waiting for the others included
  double waiting;
};

class Executor {
 public:
  static constexpr std::size_t SCRATCH_BYTES = std::size_t{256} << 10;

  Executor(Plan plan, std::int64_t max_step_tokens, std::int64_t pages, std::int64_t state_slots,
           int threads);

  Logits step(const Batch &batch);

  int threads() const { return team_.size(); }
  int active_threads() const { return team_.active(); }
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
    std::int64_t grain;  // units of a grain
    std::uint32_t first;  // grain, in the phase
    std::uint32_t grains;
    std::size_t launch;
  };

  void resolve_slots();
  std::int64_t fixed_value(const Slot &slot) const;
  std::int64_t step_value(SlotKind kind) const;
  std::int64_t units_of(const Launch &launch) const;
  void prepare();
  void add_dispatch(std::size_t launch, std::int64_t units, bool begins_phase);
  std::int64_t grain_of(const Launch &launch, std::int64_t units) const;
  void execute(int member, std::uint32_t phase, std::uint32_t begin, std::uint32_t end);
  void note_times(const std::vector<PhaseTime> &times);

  const Plan plan_;
  const StepLimits limits_;
  StepInputs inputs_;
  std::shared_ptr<MappedMemory> arena_;
  MappedMemory kv_cache_;
  MappedMemory states_;
  MappedMemory scratch_;
  std::vector<std::vector<std::int64_t>> slots_;
  std::vector<Patch> patches_;
  std::vector<Dispatch> dispatches_;
  std::vector<ThreadTeam::Phase> phases_;
  std::vector<std::size_t> phase_begins_;  // in dispatches_; one more than phases
  std::vector<LaunchTime> profile_;
  bool profiling_ = false;
  std::atomic<bool> busy_{false};
  ThreadTeam team_;
};

}  // namespace ingot
