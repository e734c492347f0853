// Python: Plan and its parts as constructors with keywords, Executor, Decoded.
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bindings.h"
#include "decode.h"
#include "error.h"
#include "executor.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

using Array1 = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Array2 = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using EndIds = std::vector<std::vector<std::int32_t>>;
using LogitsArray = nb::ndarray<nb::numpy, float, nb::ndim<2>, nb::device::cpu>;

template <typename Array>
std::span<const std::int32_t> span_of(const Array &array) {
  return {array.data(), array.size()};
}

// The executor as Python holds it: close() lets it go while the object lives on.
class ClosableExecutor {
  // Under the GIL but for `work` itself, so that `running_` needs no lock.
  template <typename Work>
  auto exclusively(Work work) {
    Executor &executor = get();
    if (running_) fail("a step is already running");
    running_ = true;
    struct Reset {
      bool &flag;
      ~Reset() { flag = false; }
    } const reset{running_};
    const nb::gil_scoped_release release;
    return work(executor);
  }

 public:
  ClosableExecutor(const Plan &plan, std::int64_t max_step_tokens, std::int64_t pages,
                   std::int64_t state_slots, int threads)
      : executor_(std::make_unique<Executor>(plan, max_step_tokens, pages, state_slots, threads)) {}

  Executor &get() {
    if (!executor_) fail("the executor is closed");
    return *executor_;
  }
  void close() {
    if (running_) fail("a step is running");
    executor_.reset();
  }
  LogitsArray step(const Array1 &token_ids, const Array1 &positions, const Array1 &starts,
                   const Array2 &block_tables, const Array1 &row_ids,
                   const Array1 &token_types, const Array1 &state_slots) {
    const Batch batch{span_of(token_ids),
                      span_of(positions),
                      span_of(starts),
                      span_of(block_tables),
                      static_cast<std::int64_t>(block_tables.shape(0)),
                      static_cast<std::int64_t>(block_tables.shape(1)),
                      span_of(row_ids),
                      span_of(token_types),
                      span_of(state_slots)};
    const Logits logits = exclusively([&](Executor &executor) { return executor.step(batch); });
    auto *owner = new std::shared_ptr<MappedMemory>(logits.owner);
    const nb::capsule capsule(owner, [](void *pointer) noexcept {
      delete static_cast<std::shared_ptr<MappedMemory> *>(pointer);
    });
    return LogitsArray(logits.data,
                       {static_cast<std::size_t>(logits.rows),
                        static_cast<std::size_t>(get().limits().width)},
                       capsule, {logits.row_stride, 1});
  }
  Decoded decode(const Array1 &token_ids, const Array1 &positions, const Array2 &block_tables,
                 const Array1 &state_slots, const EndIds &end_ids,
                 std::vector<SamplerState *> states, std::int64_t steps, double seconds) {
    if (std::ranges::count(states, nullptr)) fail("a state is None");
    if (block_tables.shape(0) != states.size()) fail("a burst needs a block table a sequence");
    const DecodeBatch batch{span_of(token_ids),
                            span_of(positions),
                            span_of(block_tables),
                            static_cast<std::int64_t>(block_tables.shape(1)),
                            span_of(state_slots),
                            end_ids,
                            std::move(states),
                            steps,
                            seconds};
    return exclusively(
        [&](Executor &executor) { return ingot::decode(executor, batch, interrupted_); });
  }
  void interrupt(bool on) { interrupted_ = on; }

 private:
  std::unique_ptr<Executor> executor_;
  bool running_ = false;
  std::atomic<bool> interrupted_{false};
};

void bind_plan(nb::module_ &module) {
  nb::enum_<Rows>(module, "Rows").value("tokens", Rows::tokens).value("rows", Rows::rows);
  nb::enum_<UnitKind>(module, "UnitKind")
      .value("count", UnitKind::count)
      .value("per_row", UnitKind::per_row)
      .value("tasks", UnitKind::tasks)
      .value("sequences", UnitKind::sequences);
  nb::enum_<SlotKind>(module, "SlotKind")
      .value("buffer", SlotKind::buffer)
      .value("weight", SlotKind::weight)
      .value("integer", SlotKind::integer)
      .value("kv", SlotKind::kv)
      .value("state", SlotKind::state)
      .value("tokens", SlotKind::tokens)
      .value("rows", SlotKind::rows)
      .value("token_ids", SlotKind::token_ids)
      .value("positions", SlotKind::positions)
      .value("row_ids", SlotKind::row_ids)
      .value("slots", SlotKind::slots)
      .value("tasks", SlotKind::tasks)
      .value("block_tables", SlotKind::block_tables)
      .value("block_stride", SlotKind::block_stride)
      .value("token_types", SlotKind::token_types)
      .value("starts", SlotKind::starts)
      .value("sequences", SlotKind::sequences);
  nb::class_<Buffer>(module, "Buffer")
      .def(nb::init<std::string, Rows, std::int64_t, std::int64_t>(), "name"_a, "rows"_a,
           "row_bytes"_a, "offset_bytes"_a);
  nb::class_<Weight>(module, "Weight")
      .def(nb::init<std::string, std::uintptr_t, std::int64_t>(), "name"_a, "address"_a,
           "bytes"_a);
  nb::class_<Slot>(module, "Slot")
      .def(nb::init<SlotKind, std::int64_t, std::int64_t>(), "kind"_a, "index"_a = 0,
           "offset"_a = 0);
  nb::class_<Variant>(module, "Variant")
      .def(nb::init<std::int64_t, std::uintptr_t>(), "max_rows"_a, "kernel"_a);
  nb::class_<Launch>(module, "Launch")
      .def(nb::init<std::string, std::vector<Variant>, Rows, UnitKind, std::int64_t, std::int64_t,
                    bool, std::vector<Slot>>(),
           "name"_a, "variants"_a, "rows"_a, "unit_kind"_a, "units"_a, "grain"_a, "barrier"_a,
           "slots"_a);
  nb::class_<Plan>(module, "Plan")
      .def(nb::init<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                    std::vector<std::int64_t>, std::vector<std::int64_t>, std::int64_t,
                    std::vector<Buffer>, std::vector<Weight>, std::vector<Launch>>(),
           "vocab_size"_a, "max_positions"_a, "page_tokens"_a, "row_width"_a, "token_types"_a,
           "kv_page_bytes"_a, "state_bytes"_a, "logits"_a, "buffers"_a, "weights"_a,
           "launches"_a)
      .def("validate", &Plan::validate)
      .def_prop_ro("arena_bytes_per_row", &Plan::arena_bytes_per_row);
}

std::vector<std::pair<std::string, double>> profile_of(ClosableExecutor &executor) {
  std::vector<std::pair<std::string, double>> profile;
  for (LaunchTime &time : executor.get().last_profile())
    profile.emplace_back(std::move(time.name), time.seconds);
  return profile;
}

std::vector<double> waits_of(ClosableExecutor &executor) {
  std::vector<double> waits;
  for (const LaunchTime &time : executor.get().last_profile()) waits.push_back(time.waiting);
  return waits;
}

}  // namespace

void bind_executor(nb::module_ &module) {
  bind_plan(module);
  nb::class_<Decoded>(module, "Decoded")
      .def_ro("steps", &Decoded::steps)
      .def_ro("times", &Decoded::times)
      .def_ro("errors", &Decoded::errors);
  nb::class_<ClosableExecutor>(module, "Executor")
      .def(nb::init<const Plan &, std::int64_t, std::int64_t, std::int64_t, int>(), "plan"_a,
           "max_step_tokens"_a, "pages"_a, "state_slots"_a, "threads"_a)
      .def("step", &ClosableExecutor::step, nb::arg("token_ids").noconvert(),
           nb::arg("positions").noconvert(), nb::arg("starts").noconvert(),
           nb::arg("block_tables").noconvert(), nb::arg("row_ids").noconvert(),
           nb::arg("token_types").noconvert(), nb::arg("state_slots").noconvert())
      .def("decode", &ClosableExecutor::decode, nb::kw_only(),
           nb::arg("token_ids").noconvert(), nb::arg("positions").noconvert(),
           nb::arg("block_tables").noconvert(), nb::arg("state_slots").noconvert(), "end_ids"_a,
           "states"_a, "steps"_a, "seconds"_a)
      .def("interrupt", &ClosableExecutor::interrupt, "on"_a)
      .def("close", &ClosableExecutor::close)
      .def_prop_ro("threads", [](ClosableExecutor &self) { return self.get().threads(); })
      .def_prop_ro("active_threads",
                   [](ClosableExecutor &self) { return self.get().active_threads(); })
      .def_prop_ro("max_step_tokens",
                   [](ClosableExecutor &self) { return self.get().limits().capacity; })
      .def("set_profiling",
           [](ClosableExecutor &self, bool on) { self.get().set_profiling(on); }, "on"_a)
      .def("last_profile", &profile_of)
      .def("last_waits", &waits_of);
}

}  // namespace ingot
