#include "resident_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "error.h"
#include "thread_team.h"

namespace ingot {
namespace {

constexpr std::size_t PIECE = std::size_t{4} << 20;  // whole huge pages, so that each has one writer

class File {
 public:
  explicit File(const std::string &path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail(path, ": ", std::strerror(errno));
  }
  ~File() { close(descriptor_); }
  File(const File &) = delete;
  File &operator=(const File &) = delete;

  std::size_t size() const {
    struct stat about {};
    return fstat(descriptor_, &about) == 0 ? static_cast<std::size_t>(about.st_size) : 0;
  }
  bool read_all(std::byte *to, std::size_t begin, std::size_t end) const {
    while (begin < end) {
      const ssize_t got = pread(descriptor_, to + begin, end - begin, static_cast<off_t>(begin));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      begin += static_cast<std::size_t>(got);
    }
    return true;
  }

 private:
  const int descriptor_;
};

struct Reading {
  const File &file;
  MappedMemory &memory;
  std::size_t size;
  std::size_t piece;
  std::atomic<bool> failed{false};

  void run(std::uint32_t begin, std::uint32_t end) {
    if (!file.read_all(memory.data(), begin * piece, std::min(size, end * piece))) failed = true;
  }
};

}  // namespace

std::shared_ptr<MappedMemory> read_resident(const std::string &path, int threads) {
  const File file(path);
  const std::size_t size = file.size();
  auto memory = std::make_shared<MappedMemory>(size);
  Reading reading{file, *memory, size, PIECE * (size / PIECE / SharedWork::MOST_GRAINS + 1)};
  const std::size_t pieces = (size + reading.piece - 1) / reading.piece;
  const ThreadTeam::Phase phase{static_cast<std::uint32_t>(pieces), false};
  ThreadTeam team(threads);
  team.run(
      {&phase, 1},
      [](void *context, int, std::uint32_t, std::uint32_t begin, std::uint32_t end) {
        static_cast<Reading *>(context)->run(begin, end);
      },
      &reading);
  if (reading.failed) fail(path, ": cannot be read, or is shorter than it was");
  return memory;
}

}  // namespace ingot
