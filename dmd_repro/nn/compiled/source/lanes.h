// Sixteen float32 at a time, and the few operations on them that the kernels are made of.
#pragma once
#include <cstddef>
#include <cstdint>

constexpr int L = 16;
constexpr float LOG2E = 1.4426950408889634f;
constexpr float EXP2[6] = {1.867130087e-3f, 9.017030275e-3f, 5.579991315e-2f, 2.401644501e-1f, 6.931513118e-1f,
                           1.0f};  // 2^x on [0, 1) to about an ulp, the highest power first

#ifdef __AVX512F__
#include "lanes512.h"
#else
#include "lanes256.h"
#endif

static inline int up(int n) { return (n + L - 1) / L * L; }  // to whole vectors

// A bit for each of the first lanes.
static inline Which first_of(int count) { return count >= L ? 0xffff : count <= 0 ? 0 : (Which)((1u << count) - 1); }

// (rows, columns) with `step` between rows -> (columns, rows), `to_step` between rows, filled with 0 up to `fill`.
static inline void transpose(const float* from, ptrdiff_t step, int rows, int columns, float* to, ptrdiff_t to_step,
                             int fill) {
    alignas(64) float block[L * L], turned[L * L];
    for (int i = 0; i < fill; i += L)
        for (int j = 0; j < columns; j += L) {
            const int n = rows - i < L ? (rows - i > 0 ? rows - i : 0) : L, m = columns - j < L ? columns - j : L;
            if (n == L && m == L) {
                turn(from + i * step + j, step, to + j * to_step + i, to_step);
                continue;
            }
            const Which some = first_of(m);
            for (int r = 0; r < L; r++)
                store(block + r * L, r < n ? load_some(some, from + (i + r) * step + j) : zero());
            turn(block, L, turned, L);
            const Which keep = first_of(fill - i);
            for (int c = 0; c < m; c++) store_some(to + (j + c) * to_step + i, keep, load(turned + c * L));
        }
}
