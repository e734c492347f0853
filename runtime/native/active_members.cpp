#include "active_members.h"

#include <algorithm>

namespace ingot {
namespace {

using Duration = ActiveMembers::Clock::duration;

// A try costs about a slice of the scheduler's, some milliseconds.
constexpr Duration SHORTEST_PAUSE = std::chrono::milliseconds{20};
constexpr Duration LONGEST_PAUSE = std::chrono::milliseconds{800};
constexpr int MANY = 1 << 20;  // however often it still shrinks, nobody is left out

}  // namespace

void ActiveMembers::shrink(int from, Clock::time_point now) {
  if (from <= 1 || !count_.compare_exchange_strong(from, from - 1, std::memory_order_relaxed))
    return;
  const Duration lasted = now.time_since_epoch() - Duration{changed_.load(std::memory_order_relaxed)};
  const Duration before{pause_.load(std::memory_order_relaxed)};
  const Duration pause = lasted < before ? std::min(2 * before, LONGEST_PAUSE) : SHORTEST_PAUSE;
  pause_.store(pause.count(), std::memory_order_relaxed);
  changed_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

void ActiveMembers::grow(Clock::time_point now) {
  const Duration waited = now.time_since_epoch() - Duration{changed_.load(std::memory_order_relaxed)};
  if (waited < Duration{pause_.load(std::memory_order_relaxed)}) return;
  int from = count();
  if (from >= size_ || !count_.compare_exchange_strong(from, from + 1, std::memory_order_release))
    return;
  changed_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  count_.notify_all();
}

bool ActiveMembers::wait_for(int member) const {
  bool left_out = false;
  for (int count = count_.load(std::memory_order_acquire); member >= count;
       count = count_.load(std::memory_order_acquire)) {
    left_out = true;
    count_.wait(count);
  }
  return left_out;
}

void ActiveMembers::release_all() {
  count_.store(MANY, std::memory_order_release);
  count_.notify_all();
}

}  // namespace ingot
