// A team of persistent threads that share the phases of a job, each as far as it has a CPU.
//
// Contract: run() returns when every grain of every phase has been executed, each once, by some member;
// a grain may rely on all grains of the phases before its own.  The calling thread is member 0, so a
// team of one has no thread of its own.  `execute` must not throw; `context` is used only until run()
// returns.  One run() at a time; it is not re-entrant.  How grains are shared: shared_work.h.
//
// Waiting: for a phase to be complete, and for the next run, a member spins for about 50 µs, then yields
// its CPU at every look; between runs it sleeps after IDLE, so that an idle process uses no CPU.
//
// Neighbours: where a member keeps losing its CPU to another process while it works (cpu_loss.h), the
// team goes on with one member less, the last ones sleep, and their CPUs take whoever needs one.  After
// a while, longer each time that it fails, it tries with one more.  The work of those who sleep is
// shared by the others, so nothing but the speed depends on it.
//
// Ownership: the threads end in the destructor.  Failure: the constructor throws Error where a thread
// cannot be started.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "active_members.h"
#include "cpu_loss.h"
#include "shared_work.h"

namespace ingot {

struct PhaseTime {
  double seconds;  // on member 0, until the phase was complete
  double waiting;  // of these, those in which it had nothing to do
};

class ThreadTeam {
 public:
  using Phase = SharedWork::Phase;
  // Executes grains begin … end − 1 of a phase.
  using Execute = void (*)(void *context, int member, std::uint32_t phase, std::uint32_t begin,
                           std::uint32_t end);

  // `most_phases`: of a run.
  explicit ThreadTeam(int size, std::size_t most_phases = 1);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam &) = delete;
  ThreadTeam &operator=(const ThreadTeam &) = delete;

  int size() const { return size_; }
  int active() const { return active_.count(); }
  // With `times`, an entry for each phase, they are measured.
  void run(std::span<const Phase> phases, Execute execute, void *context,
           PhaseTime *times = nullptr);

 private:
  using Clock = CpuLoss::Clock;

  void work(int member);
  void await_run(std::uint32_t seen) const;
  void take_part(SharedWork::Round round, int member, CpuLoss &loss, PhaseTime *times);
  bool await_phase(SharedWork::Round round, std::uint32_t phase) const;
  void stop();

  const int size_;
  SharedWork work_;
  ActiveMembers active_;
  Execute execute_ = nullptr;
  void *context_ = nullptr;
  CpuLoss loss_;  // of member 0
  // On a cache line of its own: every waiting member polls it.
  alignas(64) std::atomic<std::uint32_t> runs_{0};
  std::atomic<bool> stopping_{false};
  alignas(64) std::vector<std::thread> threads_;
};

}  // namespace ingot
