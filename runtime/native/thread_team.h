// A team of persistent threads that works through one function together.
//
// Contract: run() calls function(context, member) once on every member and returns when all have
// returned; the calling thread is member 0, so a team of one has no thread of its own.  Inside, every
// member may call barrier(), and either all do or none.  The function must not throw.  One run() at a
// time; it is not re-entrant.
//
// Waiting: a member spins for about 50 µs, then yields its CPU at every look (a busy neighbour costs a
// share of the speed, not all of it); between runs it sleeps after IDLE_MICROSECONDS, so that an idle
// process uses no CPU.
//
// Placement: where the team is as large as the set of CPUs the process may use, each member is pinned
// to its own (the caller only during run(), and its own mask comes back).  A smaller team is left to
// the system, so that several processes do not pile up on the first CPUs.
//
// Ownership: the threads end in the destructor.  Failure: the constructor throws Error where a thread
// cannot be started.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace ingot {

class ThreadTeam {
 public:
  using Function = void (*)(void *context, int member);

  explicit ThreadTeam(int size);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam &) = delete;
  ThreadTeam &operator=(const ThreadTeam &) = delete;

  int size() const { return size_; }
  bool pinned() const { return !cpus_.empty(); }
  void run(Function function, void *context);
  void barrier();

 private:
  void work(int member);
  void await_run(std::uint32_t seen) const;
  void stop();

  const int size_;
  std::vector<int> cpus_;  // member i's CPU; empty: not pinned
  Function function_ = nullptr;
  void *context_ = nullptr;
  bool stopping_ = false;
  // On cache lines of their own: every waiting member polls them.
  alignas(64) std::atomic<std::uint32_t> runs_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::vector<std::thread> threads_;
};

}  // namespace ingot
