// A file in memory: mapped at once, and moved to huge pages by a thread of its own when asked to.
//
// Contract: data() never changes and always holds the file's bytes; whoever reads them while they are
// moved sees no difference.  Kernels that stream through huge pages miss the TLB less often than in a
// mapped file, whose pages are small; but reading the file into them takes time that a start need not
// wait for.  What cannot be moved stays mapped.
// How: a piece is read into new memory, which then takes the place of the mapped piece in one system
// call.
// Failure: Error from the constructor where the file cannot be opened or mapped.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>

namespace ingot {

class ResidentFile {
 public:
  explicit ResidentFile(const std::string &path);
  ~ResidentFile();
  ResidentFile(const ResidentFile &) = delete;
  ResidentFile &operator=(const ResidentFile &) = delete;

  const std::byte *data() const { return data_; }
  std::size_t size() const { return size_; }
  // Begins to move, once; one thread at a time may call these two.
  void settle();
  void wait();  // until all is moved that can be

 private:
  void move();
  bool move_piece(std::size_t begin) const;

  int descriptor_;
  std::size_t size_ = 0;
  std::byte *data_ = nullptr;
  std::atomic<bool> stopping_{false};
  bool settling_ = false;
  std::thread mover_;
};

}  // namespace ingot
