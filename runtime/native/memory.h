// Large zeroed memory straight from the system, returned when the object goes.
//
// Contract: data() is page-aligned and zero.  Pages are backed on first touch, by huge pages where
// the system has them, so that a generous size costs nothing until it is used.
// Failure: the constructor throws Error where the system refuses the mapping.
#pragma once

#include <cstddef>

namespace ingot {

class MappedMemory {
 public:
  explicit MappedMemory(std::size_t bytes);
  ~MappedMemory();
  MappedMemory(const MappedMemory &) = delete;
  MappedMemory &operator=(const MappedMemory &) = delete;

  std::byte *data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::byte *data_;
};

}  // namespace ingot
