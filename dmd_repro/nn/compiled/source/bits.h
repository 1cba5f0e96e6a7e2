// Which elements a dropout keeps: bits cut from words that all masks share, mixed with the keys of a draw (dropout.py).
#pragma once
#include "lanes.h"

constexpr int64_t DRAW = 1 << 21;  // lanes of one draw: `2 * NOISE` of dropout.py

// Which of 32 lanes a dropout keeps: two to each mixed word.
static inline uint32_t kept(const int32_t* words, __m512i low, __m512i high, __m512i least) {
    __m512i x = _mm512_xor_si512(_mm512_loadu_si512(words), low);
    x = _mm512_mullo_epi32(x, high);
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x2C1B3C6D));
    return (uint32_t)_mm512_cmpge_epi16_mask(x, least);
}

// Lanes `first` to first + n - 1 of some draws in a row, each with two keys, as bits from bit first % 32 of `to` on;
// one word behind the last is 0.
static inline void keep_run(const int32_t* noise, const int32_t* keys, int least, int64_t first, int64_t n,
                            uint32_t* to) {
    const __m512i bound = _mm512_set1_epi16((short)least);
    for (int64_t i = first / 32 * 32; i < first + n; i += 32) {
        const int32_t* key = keys + 2 * (i / DRAW);
        *to++ = kept(noise + i % DRAW / 2, _mm512_set1_epi32(key[0]), _mm512_set1_epi32(key[1] | 1), bound);
    }
    *to = 0;
}
