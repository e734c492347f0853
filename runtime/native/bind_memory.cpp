// Python: read_resident, a file as an array in memory of huge pages; CodeObject, code from a file.
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>

#include "bindings.h"
#include "code_object.h"
#include "resident_file.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

using Bytes = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>, nb::device::cpu>;

std::shared_ptr<MappedMemory> read_unlocked(const std::string &path, int threads) {
  const nb::gil_scoped_release release;
  return read_resident(path, threads);
}

Bytes read_bytes(const std::string &path, int threads) {
  auto *owner = new std::shared_ptr<MappedMemory>(read_unlocked(path, threads));
  const nb::capsule capsule(owner, [](void *pointer) noexcept {
    delete static_cast<std::shared_ptr<MappedMemory> *>(pointer);
  });
  return Bytes((*owner)->data(), {(*owner)->size()}, capsule);
}

}  // namespace

void bind_memory(nb::module_ &module) {
  module.def("read_resident", &read_bytes, "path"_a, "threads"_a);
  nb::class_<CodeObject>(module, "CodeObject")
      .def(
          "__init__",
          [](CodeObject *self, const nb::bytes &image) {
            new (self) CodeObject(
                {reinterpret_cast<const std::byte *>(image.c_str()), image.size()});
          },
          "image"_a)
      .def_prop_ro("functions", &CodeObject::functions);
}

}  // namespace ingot
