#include "thread_team.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "error.h"

namespace ingot {
namespace {

// Measured beside a busy process: yielding at once gives the CPU away for a whole slice of the
// scheduler's, and spinning for ever starves the member that is waited for.
constexpr int SPINS = 2000;
constexpr std::chrono::milliseconds IDLE{2};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The part of a member's CPU that it may lose before the others are better off without it: whoever
// waits loses as much.
double bearable_loss(int size) { return std::max(1.0 / 16, 0.5 / size); }

}  // namespace

ThreadTeam::ThreadTeam(int size, std::size_t most_phases)
    : size_(size),
      work_(std::clamp(size, 1, 1024), most_phases),
      active_(size),
      loss_(bearable_loss(size)) {
  if (size < 1 || size > 1024) fail("a team of ", size, " threads: expected 1 to 1024");
  try {
    for (int member = 1; member < size; ++member)
      threads_.emplace_back([this, member] { work(member); });
  } catch (const std::system_error &error) {
    stop();
    fail("cannot start ", size, " threads: ", error.what());
  }
}

ThreadTeam::~ThreadTeam() { stop(); }

void ThreadTeam::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  active_.release_all();
  runs_.fetch_add(1, std::memory_order_release);
  runs_.notify_all();
  for (std::thread &thread : threads_) thread.join();
}

void ThreadTeam::run(std::span<const Phase> phases, Execute execute, void *context,
                     PhaseTime *times) {
  if (phases.size() > work_.most_phases())
    fail("a run of ", phases.size(), " phases: expected at most ", work_.most_phases());
  execute_ = execute;  // read by others only behind a take, which the round must be open for
  context_ = context;
  loss_.restart(Clock::now());
  work_.open(phases, active());
  if (active() > 1) {
    runs_.fetch_add(1, std::memory_order_release);
    runs_.notify_all();
  }
  take_part(work_.current(), 0, loss_, times);
  work_.close();
}

void ThreadTeam::work(int member) {
  CpuLoss loss(bearable_loss(size_));
  for (std::uint32_t seen = 0;;) {
    // Who has been left out may join the run that is under way; a run that is over gives nothing.
    if (!active_.wait_for(member)) await_run(seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    seen = runs_.load(std::memory_order_acquire);
    loss.restart(Clock::now());
    take_part(work_.current(), member, loss, nullptr);
  }
}

void ThreadTeam::await_run(std::uint32_t seen) const {
  for (int spin = 0; spin < SPINS; ++spin) {
    if (runs_.load(std::memory_order_acquire) != seen) return;
    relax();
  }
  const auto idle_since = Clock::now();
  while (Clock::now() - idle_since < IDLE) {
    if (runs_.load(std::memory_order_acquire) != seen) return;
    sched_yield();
  }
  while (runs_.load(std::memory_order_acquire) == seen) runs_.wait(seen);
}

void ThreadTeam::take_part(SharedWork::Round round, int member, CpuLoss &loss, PhaseTime *times) {
  Clock::time_point begin = Clock::now();
  for (std::uint32_t phase = 0; phase < round.phases; ++phase) {
    const int active = active_.count();
    if (member >= active) return;
    for (SharedWork::Range range; work_.take(round, phase, member, range);) {
      execute_(context_, member, phase, range.begin, range.end);
      work_.finish(round, phase, member, range.end - range.begin);
    }
    const Clock::time_point worked = Clock::now();
    if (loss.is_high(begin, worked)) active_.shrink(active, worked);
    if (member == 0 && active < size_) active_.grow(worked);
    const bool yielded = await_phase(round, phase);
    const Clock::time_point end = times || yielded ? Clock::now() : worked;
    if (yielded) loss.restart(end);
    if (times) {
      const std::chrono::duration<double> seconds = end - begin, waiting = end - worked;
      times[phase] = {seconds.count(), waiting.count()};
    }
    begin = end;
  }
}

bool ThreadTeam::await_phase(SharedWork::Round round, std::uint32_t phase) const {
  for (int spin = 0; spin < SPINS; ++spin) {
    if (work_.is_complete(round, phase)) return false;
    relax();
  }
  while (!work_.is_complete(round, phase)) sched_yield();
  return true;
}

}  // namespace ingot
