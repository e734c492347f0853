// Reads a file into memory of huge pages, on several threads.
//
// Contract: the memory holds the file's bytes as they were read, and nothing maps the file afterwards.
// Kernels that stream through it miss the TLB less often than in a mapped file, whose pages are small.
// Failure: Error where the file cannot be opened or is cut off meanwhile, or memory is refused.
#pragma once

#include <memory>
#include <string>

#include "memory.h"

namespace ingot {

std::shared_ptr<MappedMemory> read_resident(const std::string &path, int threads);

}  // namespace ingot
