#include "thread_team.h"

#include <sched.h>

#include <chrono>
#include <system_error>

#include "error.h"

namespace ingot {
namespace {

// Measured beside a busy process: yielding at once gives the CPU away for a whole slice of the
// scheduler's, and spinning for ever starves the member that is waited for.
constexpr int SPINS = 2000;
constexpr std::chrono::microseconds IDLE_MICROSECONDS{2000};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);  // where it is refused, the thread is merely not pinned
}

// Pins the calling thread for as long as the object lives.
class PinGuard {
 public:
  explicit PinGuard(const std::vector<int> &cpus)
      : pinned_(!cpus.empty() && sched_getaffinity(0, sizeof before_, &before_) == 0) {
    if (pinned_) pin_to(cpus[0]);
  }
  ~PinGuard() {
    if (pinned_) sched_setaffinity(0, sizeof before_, &before_);
  }
  PinGuard(const PinGuard &) = delete;
  PinGuard &operator=(const PinGuard &) = delete;

 private:
  cpu_set_t before_;
  bool pinned_;
};

}  // namespace

ThreadTeam::ThreadTeam(int size) : size_(size) {
  if (size < 1 || size > 1024) fail("a team of ", size, " threads: expected 1 to 1024");
  std::vector<int> cpus = allowed_cpus();
  if (static_cast<int>(cpus.size()) == size && size > 1) cpus_ = std::move(cpus);
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
  stopping_ = true;
  runs_.fetch_add(1, std::memory_order_seq_cst);
  runs_.notify_all();
  for (std::thread &thread : threads_) thread.join();
}

void ThreadTeam::run(Function function, void *context) {
  if (size_ == 1) return function(context, 0);
  const PinGuard guard(cpus_);
  function_ = function;
  context_ = context;
  runs_.fetch_add(1, std::memory_order_seq_cst);
  runs_.notify_all();
  function(context, 0);
  barrier();
}

void ThreadTeam::work(int member) {
  if (pinned()) pin_to(cpus_[static_cast<std::size_t>(member)]);
  for (std::uint32_t seen = 0;; ++seen) {
    await_run(seen);
    if (stopping_) return;
    function_(context_, member);
    barrier();
  }
}

void ThreadTeam::await_run(std::uint32_t seen) const {
  for (int spin = 0; spin < SPINS; ++spin) {
    if (runs_.load(std::memory_order_acquire) != seen) return;
    relax();
  }
  const auto idle_since = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - idle_since < IDLE_MICROSECONDS) {
    if (runs_.load(std::memory_order_acquire) != seen) return;
    sched_yield();
  }
  while (runs_.load(std::memory_order_acquire) == seen) runs_.wait(seen);
}

void ThreadTeam::barrier() {
  if (size_ == 1) return;
  const std::uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; generation_.load(std::memory_order_acquire) == generation; ++spin)
    spin < SPINS ? relax() : static_cast<void>(sched_yield());
}

}  // namespace ingot
