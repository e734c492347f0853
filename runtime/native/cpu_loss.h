// Tells whether the calling thread keeps losing its CPU to somebody else.
//
// Contract: an object belongs to one thread.  restart() begins a stretch in which the thread means to
// use the CPU without pause; is_high() looks back at it, at `now`, and is true where more than `share`
// of the CPU has been missing for long enough to be no passing disturbance.  It reads the thread's CPU
// time only where WORTH_A_LOOK has passed since the last look.
#pragma once

#include <chrono>

namespace ingot {

class CpuLoss {
 public:
  using Clock = std::chrono::steady_clock;

  explicit CpuLoss(double share) : share_(share) {}

  void restart(Clock::time_point now);
  bool is_high(Clock::time_point begin, Clock::time_point now);

 private:
  const double share_;
  Clock::time_point since_{};
  std::chrono::nanoseconds used_{0};  // CPU time of the thread at `since_`
  std::chrono::duration<double> missing_{0};  // beyond the share
};

}  // namespace ingot
