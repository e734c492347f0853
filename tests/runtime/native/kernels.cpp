// A model small enough to check by hand, in kernels of the CPU target's ABI.  All values are small
// integers in float32, so every order of summation gives the same bits.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ctime>

namespace {
constexpr std::int64_t WIDTH = 16;  // floats in a row, an entry of the KV cache, a row of a weight

template <typename T>
T *pointer(std::int64_t slot) {
  return reinterpret_cast<T *>(slot);
}

void spin(std::int64_t milliseconds) {
  timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do {
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
           milliseconds);
}
}  // namespace

extern "C" {

// x, token_ids, positions, table, milliseconds to waste unless this share is the first
void embed(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *) {
  float *x = pointer<float>(slots[0]);
  const std::int32_t *tokens = pointer<std::int32_t>(slots[1]);
  const std::int32_t *positions = pointer<std::int32_t>(slots[2]);
  const float *table = pointer<float>(slots[3]);
  if (begin > 0 && slots[4] > 0) spin(slots[4]);
  for (std::int64_t t = begin; t < end; ++t)
    for (std::int64_t j = 0; j < WIDTH; ++j)
      x[t * WIDTH + j] = table[tokens[t] * WIDTH + j] + static_cast<float>(positions[t] % 3);
}

// x, slots, cache
void write_cache(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *) {
  const std::int32_t *places = pointer<std::int32_t>(slots[1]);
  for (std::int64_t t = begin; t < end; ++t)
    std::memcpy(pointer<float>(slots[2]) + places[t] * WIDTH, pointer<float>(slots[0]) + t * WIDTH,
                WIDTH * sizeof(float));
}

// y, tasks, block_tables, cache; y[t] = Σ over positions p ≤ t's of (p % 5 + 1) · entry[p]
void attend(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *) {
  float *y = pointer<float>(slots[0]);
  const float *cache = pointer<float>(slots[3]);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int32_t *task = pointer<std::int32_t>(slots[1]) + unit * 8;
    const std::int32_t *pages = pointer<std::int32_t>(slots[2]) + task[3];
    for (std::int64_t i = 0; i < task[1]; ++i) {
      float *row = y + (task[0] + i) * WIDTH;
      std::memset(row, 0, WIDTH * sizeof(float));
      if (task[4] < task[2] + task[1]) continue;  // the sequence cannot be shorter than this
      for (std::int64_t p = 0; p <= task[2] + i; ++p)
        for (std::int64_t j = 0; j < WIDTH; ++j)
          row[j] += static_cast<float>(p % 5 + 1) * cache[(pages[p / 16] * 16 + p % 16) * WIDTH + j];
    }
  }
}

// z, y, row_ids
void pick_rows(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *) {
  const std::int32_t *row_ids = pointer<std::int32_t>(slots[2]);
  for (std::int64_t r = begin; r < end; ++r)
    std::memcpy(pointer<float>(slots[0]) + r * WIDTH, pointer<float>(slots[1]) + row_ids[r] * WIDTH,
                WIDTH * sizeof(float));
}

// logits, z, table, rows, floats between rows of logits; units are panels of 16 outputs
static void head(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *scratch,
                 float bias) {
  float *z = static_cast<float *>(scratch);  // a scratch that another thread shares would be seen
  const float *table = pointer<float>(slots[2]);
  const bool aligned = reinterpret_cast<std::uintptr_t>(scratch) % 64 == 0;
  for (std::int64_t r = 0; r < slots[3]; ++r) {
    std::memcpy(z, pointer<float>(slots[1]) + r * WIDTH, WIDTH * sizeof(float));
    for (std::int64_t n = begin * 16; n < end * 16; ++n) {
      float sum = aligned ? bias * cosf(0.0f * z[0]) : NAN;
      for (std::int64_t j = 0; j < WIDTH; ++j) sum += z[j] * table[n * WIDTH + j];
      pointer<float>(slots[0])[r * slots[4] + n] = sum;
    }
  }
}

void head_for_one(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *scratch) {
  head(slots, begin, end, scratch, 0.25f);
}

void head_for_any(const std::int64_t *slots, std::int64_t begin, std::int64_t end, void *scratch) {
  head(slots, begin, end, scratch, 0.0f);
}

void nothing(const std::int64_t *, std::int64_t, std::int64_t, void *) {}
}
