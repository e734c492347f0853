// Python: ThreadTeam, with a measurement of its barrier, so that tests and benchmarks can load it.
#include <atomic>
#include <chrono>
#include <utility>

#include <nanobind/stl/pair.h>

#include "bindings.h"
#include "thread_team.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

struct Rounds {
  ThreadTeam &team;
  std::int64_t count;
  std::atomic<std::int64_t> entered{0};
  std::atomic<std::int64_t> violations{0};

  // In every round each member enters once between two barriers; whoever has passed the first one
  // must find that all have entered.
  void run() {
    for (std::int64_t round = 1; round <= count; ++round) {
      entered.fetch_add(1);
      team.barrier();
      if (entered.load() != round * team.size()) violations.fetch_add(1);
      team.barrier();
    }
  }
};

// Runs `rounds` rounds of two barriers in one dispatch: (seconds, broken promises of the barrier).
std::pair<double, std::int64_t> check_barrier(ThreadTeam &team, std::int64_t rounds) {
  const nb::gil_scoped_release release;
  Rounds work{team, rounds};
  const auto start = std::chrono::steady_clock::now();
  team.run([](void *context, int) { static_cast<Rounds *>(context)->run(); }, &work);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const std::int64_t missing = rounds * team.size() - work.entered.load();
  return {seconds.count(), work.violations.load() + missing};
}

}  // namespace

void bind_team(nb::module_ &module) {
  nb::class_<ThreadTeam>(module, "ThreadTeam")
      .def(nb::init<int>(), "size"_a)
      .def_prop_ro("size", &ThreadTeam::size)
      .def_prop_ro("pinned", &ThreadTeam::pinned)
      .def("check_barrier", &check_barrier, "rounds"_a);
}

}  // namespace ingot
