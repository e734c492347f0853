// Python: ResidentFile, a file in memory of huge pages; CodeObject, code from a file.
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "bindings.h"
#include "code_object.h"
#include "resident_file.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

using Bytes = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>, nb::device::cpu>;

// The array keeps the file in memory.
Bytes content_of(const std::shared_ptr<ResidentFile> &file) {
  auto *owner = new std::shared_ptr<ResidentFile>(file);
  const nb::capsule capsule(owner, [](void *pointer) noexcept {
    delete static_cast<std::shared_ptr<ResidentFile> *>(pointer);
  });
  return Bytes(file->data(), {file->size()}, capsule);
}

}  // namespace

void bind_memory(nb::module_ &module) {
  nb::class_<ResidentFile>(module, "ResidentFile")
      .def(nb::init<const std::string &>(), "path"_a)
      .def_prop_ro("content", &content_of, nb::rv_policy::automatic)
      .def("settle", &ResidentFile::settle)
      .def("wait", &ResidentFile::wait, nb::call_guard<nb::gil_scoped_release>());
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
