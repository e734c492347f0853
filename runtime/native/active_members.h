// How many members of a team take part at present.
//
// Contract: members 0 … count() − 1 take part; member 0 always does.  shrink() leaves the last one out,
// once where several ask at the same time; grow() takes one more in when its time has come: after
// SHORTEST_PAUSE, and later each time that growing has not lasted.  wait_for() lets a member sleep that
// is left out, and says whether it was.  All may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>

namespace ingot {

class ActiveMembers {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ActiveMembers(int size) : size_(size), count_(size) {}

  int count() const { return count_.load(std::memory_order_relaxed); }
  void shrink(int from, Clock::time_point now);
  void grow(Clock::time_point now);
  bool wait_for(int member) const;
  void release_all();  // for good

 private:
  const int size_;
  std::atomic<int> count_;
  std::atomic<Clock::rep> changed_{0};  // when it last grew or shrank
  std::atomic<Clock::rep> pause_{0};  // from then on, until it may grow
};

}  // namespace ingot
