// Which elements a dropout keeps: bits cut from words that all masks share, mixed with the keys of a draw (dropout.py).
#pragma once
#include <cstring>

#include "lanes.h"

constexpr int64_t DRAW = 1 << 21;  // lanes of one draw: `2 * NOISE` of dropout.py

// Which of 32 lanes a dropout keeps: two to each mixed word.
static inline uint32_t kept(const int32_t* words, Ints low, Ints high, Ints least) {
    return not_below(mixed(load_ints(words), low, high), least);
}

// 32 bits from one on.
static inline uint32_t bits_from(const uint32_t* bits, unsigned at) {
    uint64_t word;
    std::memcpy(&word, (const char*)bits + at / 8, sizeof(word));
    return (uint32_t)(word >> (at % 8));
}

// Lanes `first` to first + n - 1 of some draws in a row, each with two keys, as bits from bit first % 32 of `to` on;
// one word behind the last is 0.
static inline void keep_run(const int32_t* noise, const int32_t* keys, int least, int64_t first, int64_t n,
                            uint32_t* to) {
    const Ints bound = all_shorts((short)least);
    for (int64_t i = first / 32 * 32; i < first + n; i += 32) {
        const int32_t* key = keys + 2 * (i / DRAW);
        *to++ = kept(noise + i % DRAW / 2, all_ints(key[0]), all_ints(key[1] | 1), bound);
    }
    *to = 0;
}

// Rows of `width` bits, one behind the other from bit `at` on -> words[chunk * step + row]: 32 neighbours of a row each,
// so that one test of a vector of words gives a channel's bits at 16 steps.
static inline void spread(const uint32_t* bits, int at, int width, int rows, uint32_t* words, ptrdiff_t step) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; 32 * c < width; c++) words[c * step + r] = bits_from(bits, at + r * width + 32 * c);
}

// What is kept of some steps and channels, as `spread` leaves it, and what that is multiplied by. Null: all, by 1.
struct Keep {
    const uint32_t* words = nullptr;
    ptrdiff_t step = 0;
    float scale = 1.0f;

    // Of 16 steps from t on, the factor of channel c: `scale` or 0.
    lanes factor(int c, int t) const {
        if (!words) return all(scale);
        return pick(with_bit(load_ints(words + (c >> 5) * step + t), 1u << (c & 31)), all(scale));
    }
};
