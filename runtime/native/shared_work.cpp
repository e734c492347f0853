// Memory order.  A grain's results are published by the release in finish() and seen through the
// acquires in is_complete(): it either reads all the counts of the phase, or the number of a later
// phase, which somebody stored (with release) after he had seen the phase complete.  Rounds are
// published by the release of `round_`.
//
// What may be stale.  Before a take succeeds, a member has read only atomics of this object.  A member
// that was left behind may read the size of a phase of a later round in place of its own; but then, by
// the acquire in size_of(), it also sees that close() has moved every region to a number later than
// those of its round, so its take fails.  Within a round sizes do not change, and a region of at least
// one grain must have been taken from, and so moved on, before its phase was complete.
#include "shared_work.h"

#include "error.h"

namespace ingot {
namespace {

struct Region {
  std::uint32_t number, begin, end;
  std::uint32_t left() const { return end - begin; }
};

constexpr std::uint64_t pack(std::uint32_t number, std::uint32_t begin, std::uint32_t end) {
  return std::uint64_t{number} << 32 | begin << 16 | end;
}

constexpr Region unpack(std::uint64_t word) {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word >> 16 & 0xffff),
          static_cast<std::uint32_t>(word & 0xffff)};
}

// Numbers wrap; no member falls behind by half of them.
constexpr bool is_later(std::uint32_t number, std::uint32_t than) {
  return static_cast<std::int32_t>(number - than) > 0;
}

// What a member's region holds in phase `number`: what its word says, or all where nobody has taken.
Region region_in(std::uint64_t word, std::uint32_t number, std::uint32_t grains,
                 std::uint32_t parts, std::uint32_t member) {
  const Region region = unpack(word);
  if (region.number == number) return region;
  if (is_later(region.number, number) || member >= parts) return {number, 0, 0};
  return {number, grains * member / parts, grains * (member + 1) / parts};
}

}  // namespace

SharedWork::SharedWork(int members, std::size_t most_phases)
    : members_(static_cast<std::size_t>(members)), sizes_(most_phases) {}

void SharedWork::open(std::span<const Phase> phases, int parts) {
  const Round before = current();
  for (std::size_t i = 0; i < phases.size(); ++i) {
    const std::uint64_t word = std::uint64_t{phases[i].grains} << 32 |
                               static_cast<std::uint64_t>(phases[i].in_turn ? 1 : parts) << 1 |
                               static_cast<std::uint64_t>(phases[i].in_turn);
    sizes_[i].store(word, std::memory_order_release);
  }
  // One number between two rounds is that of the closed regions.
  const std::uint32_t first = before.first + before.phases + 1;
  round_.store(std::uint64_t{first} << 32 | phases.size(), std::memory_order_release);
}

void SharedWork::close() {
  const Round round = current();
  const std::uint64_t closed = pack(round.first + round.phases, 0, 0);
  for (Member &member : members_) {
    member.region.store(closed, std::memory_order_release);
    member.finished.store(closed, std::memory_order_release);  // no grain is left to be counted
  }
}

SharedWork::Round SharedWork::current() const {
  const std::uint64_t word = round_.load(std::memory_order_acquire);
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
}

SharedWork::Size SharedWork::size_of(std::uint32_t phase) const {
  const std::uint64_t word = sizes_[phase].load(std::memory_order_acquire);
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 1 & 0x7fff),
          (word & 1) != 0};
}

bool SharedWork::take(Round round, std::uint32_t phase, int member, Range &range) {
  const std::uint32_t number = round.first + phase;
  const Size size = size_of(phase);
  if (!size.in_turn && take_from(member, number, size, true, range)) return true;
  for (int owner = fullest(number, size); owner >= 0; owner = fullest(number, size))
    if (take_from(owner, number, size, size.in_turn, range)) return true;
  return false;
}

bool SharedWork::take_from(int owner, std::uint32_t number, const Size &size, bool front,
                           Range &range) {
  std::atomic<std::uint64_t> &word = members_[static_cast<std::size_t>(owner)].region;
  std::uint64_t seen = word.load(std::memory_order_acquire);
  for (;;) {
    const Region left =
        region_in(seen, number, size.grains, size.parts, static_cast<std::uint32_t>(owner));
    if (left.left() == 0) return false;
    const std::uint32_t grains = size.in_turn ? 1 : (left.left() + 1) / 2;
    range = front ? Range{left.begin, left.begin + grains} : Range{left.end - grains, left.end};
    const std::uint64_t rest = front ? pack(number, range.end, left.end)
                                     : pack(number, left.begin, range.begin);
    if (word.compare_exchange_weak(seen, rest, std::memory_order_acq_rel,
                                   std::memory_order_acquire))
      return true;
  }
}

int SharedWork::fullest(std::uint32_t number, const Size &size) const {
  int found = -1;
  std::uint32_t most = 0;
  for (std::uint32_t owner = 0; owner < size.parts && owner < members_.size(); ++owner) {
    const std::uint64_t word = members_[owner].region.load(std::memory_order_acquire);
    const std::uint32_t left = region_in(word, number, size.grains, size.parts, owner).left();
    if (left > most) most = left, found = static_cast<int>(owner);
  }
  return found;
}

void SharedWork::finish(Round round, std::uint32_t phase, int member, std::uint32_t grains) {
  std::atomic<std::uint64_t> &word = members_[static_cast<std::size_t>(member)].finished;
  const std::uint32_t number = round.first + phase;
  const std::uint64_t before = word.load(std::memory_order_relaxed);  // nobody else stores here
  const bool first = static_cast<std::uint32_t>(before >> 32) != number;
  word.store(first ? std::uint64_t{number} << 32 | grains : before + grains,
             std::memory_order_release);
}

bool SharedWork::is_complete(Round round, std::uint32_t phase) const {
  const std::uint32_t number = round.first + phase;
  std::uint32_t finished = 0;
  for (const Member &member : members_) {
    const std::uint64_t word = member.finished.load(std::memory_order_acquire);
    const std::uint32_t at = static_cast<std::uint32_t>(word >> 32);
    if (at == number) finished += static_cast<std::uint32_t>(word);
    if (is_later(at, number)) return true;
  }
  return finished == size_of(phase).grains;
}

}  // namespace ingot
