// The one error of the native runtime.
//
// Contract: everything a caller can get wrong (a plan that does not fit, arrays out of range, memory
// that the system refuses) throws Error before anything is changed.  The Python module maps it once,
// to ingot.runtime._native.Error, a ValueError.  What cannot happen is an assert.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace ingot {

class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error with the parts written one after the other.
template <typename... Parts>
[[noreturn]] void fail(const Parts &...parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}

}  // namespace ingot
