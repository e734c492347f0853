#include "memory.h"

#include <sys/mman.h>

#include <algorithm>

#include "error.h"

namespace ingot {

MappedMemory::MappedMemory(std::size_t bytes) : bytes_(std::max<std::size_t>(bytes, 1)) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_NORESERVE
  flags |= MAP_NORESERVE;
#endif
  void *address = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (address == MAP_FAILED) fail("the system refuses ", bytes_ >> 20, " MiB of memory");
#ifdef MADV_HUGEPAGE
  madvise(address, bytes_, MADV_HUGEPAGE);  // advice only: without huge pages it is merely slower
#endif
  data_ = static_cast<std::byte *>(address);
}

MappedMemory::~MappedMemory() { munmap(data_, bytes_); }

}  // namespace ingot
