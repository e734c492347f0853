// Loads one relocatable x86-64 ELF object into this process and links it.
//
// Contract: functions() are the global functions that the object defines, with their addresses, which
// are valid while this lives.  What the object needs from outside (functions of libm and libc) comes
// from this process.  Code is readable and executable, constants are readable, nothing is writable
// that the object does not ask to be.
// Source: System V ABI, AMD64 supplement, section 4.4 (relocation).
// Failure: Error for bytes that are no such object, or damaged, for a relocation that is not known, and
// for a name that this process does not have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace ingot {

class CodeObject {
 public:
  explicit CodeObject(std::span<const std::byte> image);
  ~CodeObject();
  CodeObject(const CodeObject &) = delete;
  CodeObject &operator=(const CodeObject &) = delete;

  const std::map<std::string, std::uintptr_t> &functions() const { return functions_; }

 private:
  std::byte *memory_ = nullptr;
  std::size_t size_ = 0;
  std::map<std::string, std::uintptr_t> functions_;
};

}  // namespace ingot
