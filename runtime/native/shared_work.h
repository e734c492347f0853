// Work that the members of a team share without waiting for each other.
//
// A round is a sequence of phases, a phase a number of grains that may run in any order; what a phase
// does may depend on every grain of the phases before it.  Each member takes from the front of a
// contiguous region of its own, half of what is left at a time, so that it streams through memory and
// takes a handful of times; whoever has run out steals half of what the fullest region has left, from
// its end.  In a phase `in_turn`, whose grains differ in cost, all take one grain at a time.
//
// A phase is complete when its grains are finished, not when the members have come by: one that lost
// its CPU is waited for only while it holds grains, and is left behind otherwise.  It may look at this
// object at any time later, even in the middle of another round, and gets nothing: rounds and phases
// are numbered, and a region that has moved on to a later number gives nothing to an earlier one.
//
// Contract: open() and close() are for one thread, close() after the last phase is complete.  take()
// and finish() are for member `member` alone.  Where is_complete() returns true, or take() gives a
// range, everything that the finished grains of earlier phases wrote can be seen.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace ingot {

class SharedWork {
 public:
  static constexpr std::uint32_t MOST_GRAINS = (1u << 16) - 1;  // of a phase

  struct Phase {
    std::uint32_t grains;
    bool in_turn;
  };
  struct Round {
    std::uint32_t first;  // number of the first phase
    std::uint32_t phases;
  };
  struct Range {
    std::uint32_t begin, end;
  };

  // `most_phases`: of a round.
  SharedWork(int members, std::size_t most_phases);

  std::size_t most_phases() const { return sizes_.size(); }
  // Starts a round whose phases are divided into `parts` regions, of the first so many members.
  void open(std::span<const Phase> phases, int parts);
  void close();
  Round current() const;

  // Gives grains of a phase to a member; false where none is left.
  bool take(Round round, std::uint32_t phase, int member, Range &range);
  void finish(Round round, std::uint32_t phase, int member, std::uint32_t grains);
  bool is_complete(Round round, std::uint32_t phase) const;

 private:
  struct Size {
    std::uint32_t grains;
    std::uint16_t parts;
    bool in_turn;
  };
  // Two cache lines, as they are fetched in pairs.
  struct alignas(128) Member {
    std::atomic<std::uint64_t> region{0};  // phase number, first grain left, end
    std::atomic<std::uint64_t> finished{0};  // phase number, grains finished in it
  };

  Size size_of(std::uint32_t phase) const;
  bool take_from(int owner, std::uint32_t number, const Size &size, bool front, Range &range);
  int fullest(std::uint32_t number, const Size &size) const;

  std::vector<Member> members_;
  std::vector<std::atomic<std::uint64_t>> sizes_;  // of the phases of the round
  std::atomic<std::uint64_t> round_{0};
};

}  // namespace ingot
