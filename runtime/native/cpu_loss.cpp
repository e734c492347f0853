#include "cpu_loss.h"

#include <algorithm>
#include <ctime>

namespace ingot {
namespace {

constexpr std::chrono::microseconds WORTH_A_LOOK{300};
constexpr std::chrono::duration<double> TOO_MUCH{0.003};  // about a slice of the scheduler's

std::chrono::nanoseconds cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

void CpuLoss::restart(Clock::time_point now) {
  since_ = now;
  used_ = cpu_time();
}

bool CpuLoss::is_high(Clock::time_point begin, Clock::time_point now) {
  if (now - begin < WORTH_A_LOOK) return false;
  const std::chrono::nanoseconds used = cpu_time();
  const std::chrono::duration<double> passed = now - since_, got = used - used_;
  missing_ = std::max(std::chrono::duration<double>{0}, missing_ + (passed - got) - share_ * passed);
  since_ = now;
  used_ = used;
  if (missing_ < TOO_MUCH) return false;
  missing_ = {};
  return true;
}

}  // namespace ingot
