#include "resident_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "error.h"

namespace ingot {
namespace {

constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;
constexpr std::size_t PIECE = 8 * HUGE_PAGE;

std::size_t rounded(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

// Address space of `bytes` from a huge page's border on, with no memory behind it.
std::byte *reserve(std::size_t bytes) {
  void *address = mmap(nullptr, bytes + HUGE_PAGE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  auto *begin = static_cast<std::byte *>(address);
  const std::size_t skipped = rounded(reinterpret_cast<std::uintptr_t>(begin), HUGE_PAGE) -
                              reinterpret_cast<std::uintptr_t>(begin);
  if (skipped > 0) munmap(begin, skipped);
  if (skipped < HUGE_PAGE) munmap(begin + skipped + bytes, HUGE_PAGE - skipped);
  return begin + skipped;
}

bool read_all(int descriptor, std::byte *to, std::size_t from, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = pread(descriptor, to, bytes, static_cast<off_t>(from));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    from += static_cast<std::size_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

ResidentFile::ResidentFile(const std::string &path)
    : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail(path, ": ", std::strerror(errno));
  struct stat about {};
  if (fstat(descriptor_, &about) == 0) size_ = static_cast<std::size_t>(about.st_size);
  data_ = size_ > 0 ? reserve(rounded(size_, HUGE_PAGE)) : nullptr;
  if (!data_ || mmap(data_, size_, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor_, 0) != data_) {
    close(descriptor_);
    fail(path, ": it is empty, or the system refuses to map it");
  }
}

ResidentFile::~ResidentFile() {
  stopping_.store(true, std::memory_order_relaxed);
  if (mover_.joinable()) mover_.join();
  munmap(data_, rounded(size_, HUGE_PAGE));
  close(descriptor_);
}

void ResidentFile::settle() {
  if (settling_) return;
  settling_ = true;
  mover_ = std::thread([this] { move(); });
}

void ResidentFile::wait() {
  if (mover_.joinable()) mover_.join();
}

void ResidentFile::move() {
  for (std::size_t begin = 0; begin < size_; begin += PIECE)
    if (stopping_.load(std::memory_order_relaxed) || !move_piece(begin)) return;
}

bool ResidentFile::move_piece(std::size_t begin) const {
  const std::size_t bytes = std::min(PIECE, size_ - begin);
  const std::size_t whole = rounded(bytes, HUGE_PAGE);
  std::byte *piece = reserve(whole);
  if (!piece) return false;
#ifdef MADV_HUGEPAGE
  madvise(piece, whole, MADV_HUGEPAGE);
#endif
  const bool moved = mprotect(piece, whole, PROT_READ | PROT_WRITE) == 0 &&
                     read_all(descriptor_, piece, begin, bytes) &&
                     mprotect(piece, whole, PROT_READ) == 0 &&
                     mremap(piece, whole, whole, MREMAP_MAYMOVE | MREMAP_FIXED, data_ + begin) ==
                         data_ + begin;
  if (!moved) munmap(piece, whole);
  return moved;
}

}  // namespace ingot
