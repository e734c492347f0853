// Python: ThreadTeam, with a check of what it promises, so that tests and benchmarks can load it.
#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>
#include <utility>

#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "error.h"
#include "thread_team.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

// Every grain counts itself, and looks whether all grains of the phase before have been counted.
struct Check {
  const std::vector<ThreadTeam::Phase> &phases;
  const int late_member;
  const std::chrono::microseconds delay;
  std::vector<std::vector<std::atomic<int>>> times;  // that a grain was executed
  std::vector<std::atomic<std::uint32_t>> finished;  // grains of each phase
  std::vector<std::atomic<std::int64_t>> executed;  // grains by each member
  std::atomic<std::int64_t> violations{0};

  Check(const std::vector<ThreadTeam::Phase> &all, int members, int late, double seconds)
      : phases(all),
        late_member(late),
        delay(static_cast<std::int64_t>(1e6 * seconds)),
        finished(all.size()),
        executed(static_cast<std::size_t>(members)) {
    for (const ThreadTeam::Phase &phase : phases) times.emplace_back(phase.grains);
  }

  void run(int member, std::uint32_t phase, std::uint32_t begin, std::uint32_t end) {
    if (phase > 0 && finished[phase - 1].load() != phases[phase - 1].grains) violations++;
    if (member == late_member) std::this_thread::sleep_for(delay);
    for (std::uint32_t grain = begin; grain < end; ++grain)
      if (times[phase][grain].fetch_add(1) != 0) violations++;
    finished[phase] += end - begin;
    executed[static_cast<std::size_t>(member)] += end - begin;
  }
};

// Shares phases of (grains, in turn) `rounds` times: seconds, promises broken, grains by each member.
std::tuple<double, std::int64_t, std::vector<std::int64_t>> check_sharing(
    ThreadTeam &team, const std::vector<std::pair<std::uint32_t, bool>> &sizes,
    std::int64_t rounds, int late_member, double delay) {
  std::vector<ThreadTeam::Phase> phases;
  for (const auto &[grains, in_turn] : sizes) phases.push_back({grains, in_turn});
  const nb::gil_scoped_release release;
  std::vector<std::int64_t> executed(static_cast<std::size_t>(team.size()));
  std::int64_t violations = 0;
  std::chrono::duration<double> seconds{0};
  for (std::int64_t round = 0; round < rounds; ++round) {
    Check check(phases, team.size(), late_member, delay);
    const auto start = std::chrono::steady_clock::now();
    team.run(
        phases,
        [](void *context, int member, std::uint32_t phase, std::uint32_t begin,
           std::uint32_t end) { static_cast<Check *>(context)->run(member, phase, begin, end); },
        &check);
    seconds += std::chrono::steady_clock::now() - start;
    violations += check.violations;
    for (std::size_t phase = 0; phase < phases.size(); ++phase)
      violations += check.finished[phase] != phases[phase].grains;
    for (std::size_t member = 0; member < executed.size(); ++member)
      executed[member] += check.executed[member];
  }
  return {seconds.count(), violations, executed};
}

}  // namespace

void bind_team(nb::module_ &module) {
  nb::class_<ThreadTeam>(module, "ThreadTeam")
      .def(nb::init<int, std::size_t>(), "size"_a, "most_phases"_a = 1)
      .def_prop_ro("size", &ThreadTeam::size)
      .def_prop_ro("active", &ThreadTeam::active)
      .def("check_sharing", &check_sharing, "phases"_a, "rounds"_a = 1, "late_member"_a = -1,
           "delay"_a = 0.0);
}

}  // namespace ingot
