#include "code_object.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "error.h"

namespace ingot {
namespace {

constexpr std::size_t PAGE = 4096;

// A jump to the address that stands in its second half; that half also serves as an entry of a global
// offset table.
constexpr std::array<std::uint8_t, 8> JUMP = {0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc};
constexpr std::size_t STUB = 16;

std::size_t rounded(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Bytes of a file, read only where they are.
class Image {
 public:
  explicit Image(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> part(std::uint64_t offset, std::uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) fail("a damaged ELF object");
    return bytes_.subspan(offset, size);
  }

  template <typename T>
  std::vector<T> table(std::uint64_t offset, std::uint64_t size) const {
    const std::span<const std::byte> source = part(offset, size);
    std::vector<T> entries(source.size() / sizeof(T));
    std::memcpy(entries.data(), source.data(), entries.size() * sizeof(T));
    return entries;
  }

  std::string text(const Elf64_Shdr &strings, std::uint64_t offset) const {
    const std::span<const std::byte> all = part(strings.sh_offset, strings.sh_size);
    if (offset >= all.size()) fail("a damaged ELF object");
    const auto *begin = reinterpret_cast<const char *>(all.data()) + offset;
    std::string text{begin, strnlen(begin, all.size() - offset)};
    if (std::ranges::any_of(text, [](char letter) { return letter < ' '; }))
      fail("a damaged ELF object");  // no name: letters beyond ASCII are negative
    return text;
  }

 private:
  std::span<const std::byte> bytes_;
};

std::vector<Elf64_Shdr> sections_of(const Image &image) {
  const Elf64_Ehdr header = image.table<Elf64_Ehdr>(0, sizeof(Elf64_Ehdr))[0];
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_type != ET_REL || header.e_machine != EM_X86_64 ||
      header.e_shentsize != sizeof(Elf64_Shdr))
    fail("no relocatable x86-64 object");
  return image.table<Elf64_Shdr>(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
}

// What memory may be used for; sections of one kind lie together, on pages of their own.
enum Access { code, constants, data };
constexpr std::array<int, 3> PROTECTION = {PROT_READ | PROT_EXEC, PROT_READ,
                                           PROT_READ | PROT_WRITE};

Access access_of(const Elf64_Shdr &section) {
  if (section.sh_flags & SHF_EXECINSTR) return code;
  return section.sh_flags & SHF_WRITE ? data : constants;
}

// One link: where sections go, what symbols stand for.
class Link {
 public:
  explicit Link(std::span<const std::byte> bytes) : image_(bytes), sections_(sections_of(image_)) {
    read_symbols();
    place_sections();
  }

  std::size_t size() const { return ends_[data]; }

  void load(std::byte *memory) {
    memory_ = memory;
    for (std::size_t i = 0; i < sections_.size(); ++i)
      if (const Elf64_Shdr &section = sections_[i]; placed(i) && section.sh_type != SHT_NOBITS) {
        const auto source = image_.part(section.sh_offset, section.sh_size);
        std::memcpy(memory + offsets_[i], source.data(), source.size());
      }
    resolve();
    for (const Elf64_Shdr &section : sections_) {
      if (section.sh_type == SHT_REL) fail("an ELF object with relocations of another kind");
      if (section.sh_type == SHT_RELA && placed(section.sh_info)) relocate(section);
    }
    protect();
  }

  std::map<std::string, std::uintptr_t> functions() const {
    std::map<std::string, std::uintptr_t> found;
    for (std::size_t i = 0; i < symbols_.size(); ++i) {
      const Elf64_Sym &symbol = symbols_[i];
      if (ELF64_ST_BIND(symbol.st_info) == STB_GLOBAL && symbol.st_shndx != SHN_UNDEF &&
          ELF64_ST_TYPE(symbol.st_info) == STT_FUNC)
        found[name(symbol)] = values_[i];
    }
    return found;
  }

 private:
  bool placed(std::size_t section) const {
    return section < sections_.size() && sections_[section].sh_flags & SHF_ALLOC &&
           sections_[section].sh_size > 0;
  }

  std::string name(const Elf64_Sym &symbol) const { return image_.text(strings_, symbol.st_name); }

  void read_symbols() {
    for (const Elf64_Shdr &section : sections_) {
      if (section.sh_type != SHT_SYMTAB) continue;
      if (section.sh_link >= sections_.size()) fail("a damaged ELF object");
      symbols_ = image_.table<Elf64_Sym>(section.sh_offset, section.sh_size);
      strings_ = sections_[section.sh_link];
    }
  }

  void place_sections() {
    offsets_.resize(sections_.size());
    std::size_t end = symbols_.size() * STUB;  // the stubs come first, before the code
    for (const Access access : {code, constants, data}) {
      for (std::size_t i = 0; i < sections_.size(); ++i) {
        const Elf64_Shdr &section = sections_[i];
        if (!placed(i) || access_of(section) != access) continue;
        if (section.sh_flags & SHF_TLS) fail("an ELF object with variables of threads");
        if (section.sh_addralign > PAGE || section.sh_size > std::numeric_limits<int>::max())
          fail("a damaged ELF object");
        offsets_[i] = rounded(end, std::max<std::size_t>(section.sh_addralign, 1));
        end = offsets_[i] + section.sh_size;
      }
      ends_[access] = end = rounded(end, PAGE);
    }
  }

  std::uintptr_t address(std::size_t offset) const {
    return reinterpret_cast<std::uintptr_t>(memory_ + offset);
  }

  void resolve() {
    for (std::size_t i = 0; i < symbols_.size(); ++i) {
      const std::uintptr_t value = value_of(symbols_[i]);
      values_.push_back(value);
      std::memcpy(memory_ + i * STUB, JUMP.data(), JUMP.size());
      std::memcpy(memory_ + i * STUB + JUMP.size(), &value, sizeof value);
    }
  }

  std::uintptr_t value_of(const Elf64_Sym &symbol) const {
    if (symbol.st_shndx == SHN_ABS) return symbol.st_value;
    if (symbol.st_shndx == SHN_COMMON) fail("an ELF object with variables in common");
    if (symbol.st_shndx != SHN_UNDEF)
      return placed(symbol.st_shndx) ? address(offsets_[symbol.st_shndx]) + symbol.st_value : 0;
    const std::string wanted = name(symbol);
    if (wanted.empty()) return 0;
    void *found = dlsym(RTLD_DEFAULT, wanted.c_str());
    if (!found && ELF64_ST_BIND(symbol.st_info) != STB_WEAK)
      fail("this process has no function ", wanted);
    return reinterpret_cast<std::uintptr_t>(found);
  }

  void relocate(const Elf64_Shdr &section) {
    const Elf64_Shdr &target = sections_[section.sh_info];
    for (const Elf64_Rela &entry : image_.table<Elf64_Rela>(section.sh_offset, section.sh_size)) {
      const std::size_t symbol = ELF64_R_SYM(entry.r_info);
      const std::size_t kind = ELF64_R_TYPE(entry.r_info);
      const std::size_t width = kind == R_X86_64_64 || kind == R_X86_64_PC64 ? 8 : 4;
      if (symbol >= symbols_.size() || target.sh_size < width ||
          entry.r_offset > target.sh_size - width)
        fail("a damaged ELF object");
      const std::size_t place = offsets_[section.sh_info] + entry.r_offset;
      const std::int64_t value =
          relocated(kind, symbol, static_cast<std::uintptr_t>(entry.r_addend), address(place));
      if (width == 4 && value != static_cast<std::int32_t>(value))
        fail("an ELF object whose parts lie too far apart");
      std::memcpy(memory_ + place, &value, width);
    }
  }

  std::int64_t relocated(std::size_t kind, std::size_t symbol, std::uintptr_t addend,
                         std::uintptr_t place) const {
    const std::uintptr_t stub = address(symbol * STUB);
    const bool outside = symbols_[symbol].st_shndx == SHN_UNDEF;
    switch (kind) {
      case R_X86_64_64: return static_cast<std::int64_t>(values_[symbol] + addend);
      case R_X86_64_PC64: return static_cast<std::int64_t>(values_[symbol] + addend - place);
      case R_X86_64_PC32: return static_cast<std::int64_t>(values_[symbol] + addend - place);
      case R_X86_64_PLT32:
        return static_cast<std::int64_t>((outside ? stub : values_[symbol]) + addend - place);
      case R_X86_64_GOTPCREL:
      case R_X86_64_GOTPCRELX:
      case R_X86_64_REX_GOTPCRELX:
        return static_cast<std::int64_t>(stub + JUMP.size() + addend - place);
      default: fail("an ELF object with a relocation of type ", kind);
    }
  }

  void protect() {
    std::size_t begin = 0;
    for (const Access access : {code, constants, data}) {
      const std::size_t end = ends_[access];
      if (end > begin && mprotect(memory_ + begin, end - begin, PROTECTION[access]) != 0)
        fail("the system refuses memory for code");
      begin = end;
    }
  }

  const Image image_;
  const std::vector<Elf64_Shdr> sections_;
  std::vector<Elf64_Sym> symbols_;
  Elf64_Shdr strings_{};
  std::vector<std::size_t> offsets_;  // of each section in memory
  std::array<std::size_t, 3> ends_{};  // of each kind of memory
  std::vector<std::uintptr_t> values_;  // of each symbol
  std::byte *memory_ = nullptr;
};

}  // namespace

CodeObject::CodeObject(std::span<const std::byte> image) {
  Link link(image);
  size_ = link.size();
  if (size_ == 0) return;
  void *memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("the system refuses memory for code");
  memory_ = static_cast<std::byte *>(memory);
  try {
    link.load(memory_);
    functions_ = link.functions();
  } catch (...) {
    munmap(memory_, size_);
    throw;
  }
}

CodeObject::~CodeObject() {
  if (memory_) munmap(memory_, size_);
}

}  // namespace ingot
