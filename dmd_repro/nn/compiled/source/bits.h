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

// Rows of `width` bits, one behind the other from bit `at` on -> words[chunk * step + row]: 32 neighbours of a row each,
// so that one test of a vector of words gives a channel's bits at 16 steps.
static inline void spread(const uint32_t* bits, int at, int width, int rows, uint32_t* words, ptrdiff_t step) {
    const __m512i each = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int r = 0; r < rows; r += L) {
        const __mmask16 some = rows - r < L ? (__mmask16)((1u << (rows - r)) - 1) : (__mmask16)0xffff;
        __m512i from = _mm512_mullo_epi32(_mm512_add_epi32(each, _mm512_set1_epi32(r)), _mm512_set1_epi32(width));
        from = _mm512_add_epi32(from, _mm512_set1_epi32(at));
        for (int c = 0; 32 * c < width; c++, from = _mm512_add_epi32(from, _mm512_set1_epi32(32))) {
            const __m512i word = _mm512_srli_epi32(from, 5), shift = _mm512_and_epi32(from, _mm512_set1_epi32(31));
            const __m512i low = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some, word, bits, 4);
            const __m512i high = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some, word, bits + 1, 4);
            const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(32), shift);
            _mm512_storeu_si512(words + c * step + r,
                                _mm512_or_epi32(_mm512_srlv_epi32(low, shift), _mm512_sllv_epi32(high, rest)));
        }
    }
}

// What is kept of some steps and channels, as `spread` leaves it, and what that is multiplied by. Null: all, by 1.
struct Keep {
    const uint32_t* words = nullptr;
    ptrdiff_t step = 0;
    float scale = 1.0f;

    // Of 16 steps from t on, the factor of channel c: `scale` or 0.
    lanes factor(int c, int t) const {
        const __m512i word = _mm512_loadu_si512(words + (c >> 5) * step + t);
        return _mm512_maskz_mov_ps(_mm512_test_epi32_mask(word, _mm512_set1_epi32(1u << (c & 31))), all(scale));
    }
};
