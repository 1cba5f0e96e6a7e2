// The operations of lanes.h for a processor with AVX2 and FMA: sixteen float32 are two registers of eight.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

constexpr int ROWS = 6;     // of a map that are computed at once,
constexpr int VECTORS = 1;  // each over so many vectors: what 16 registers hold
constexpr int SIDE = 2;     // of the blocks of a weight's gradient

struct lanes {
    __m256 low, high;
};
struct Ints {
    __m256i low, high;
};
typedef uint16_t Which;  // a bit for each lane

static inline __m256i wholes(int bits) {  // eight bits to eight whole words
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), each), each);
}
static inline __m256 wholes_ps(int bits) { return _mm256_castsi256_ps(wholes(bits)); }

static inline lanes all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store(float* p, lanes x) { _mm256_storeu_ps(p, x.low), _mm256_storeu_ps(p + 8, x.high); }
static inline lanes fma(lanes a, lanes b, lanes c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
static inline lanes plus(lanes a, lanes b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
static inline lanes minus(lanes a, lanes b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
static inline lanes times(lanes a, lanes b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
static inline lanes over(lanes a, lanes b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
static inline lanes root(lanes a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
// The second where one of the two is no number.
static inline lanes larger(lanes a, lanes b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }

// Where there is no bit: 0; what stands in `other`; nothing is read or written.
static inline lanes pick(Which m, lanes x) {
    return {_mm256_and_ps(wholes_ps(m & 255), x.low), _mm256_and_ps(wholes_ps(m >> 8), x.high)};
}
static inline lanes choose(Which m, lanes x, lanes other) {
    return {_mm256_blendv_ps(other.low, x.low, wholes_ps(m & 255)),
            _mm256_blendv_ps(other.high, x.high, wholes_ps(m >> 8))};
}
static inline lanes load_some(Which m, const float* p) {
    return {_mm256_maskload_ps(p, wholes(m & 255)), _mm256_maskload_ps(p + 8, wholes(m >> 8))};
}
static inline void store_some(float* p, Which m, lanes x) {
    _mm256_maskstore_ps(p, wholes(m & 255), x.low), _mm256_maskstore_ps(p + 8, wholes(m >> 8), x.high);
}

// Lanes that are not above 0; a NaN is not one of them.
static inline Which not_above_0(lanes x) {
    const __m256 none = _mm256_setzero_ps();
    return (Which)(_mm256_movemask_ps(_mm256_cmp_ps(x.low, none, _CMP_LE_OQ)) |
                  _mm256_movemask_ps(_mm256_cmp_ps(x.high, none, _CMP_LE_OQ)) << 8);
}

static inline float most_of(lanes x) {
    __m256 m = _mm256_max_ps(x.low, x.high);
    __m128 n = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    n = _mm_max_ps(n, _mm_movehl_ps(n, n));
    return _mm_cvtss_f32(_mm_max_ss(n, _mm_movehdup_ps(n)));
}

static inline float sum_of(lanes x) {
    const __m256 m = _mm256_add_ps(x.low, x.high);
    __m128 n = _mm_add_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    n = _mm_add_ps(n, _mm_movehl_ps(n, n));
    return _mm_cvtss_f32(_mm_add_ss(n, _mm_movehdup_ps(n)));
}

// Random words: two lanes of 16 bits each.
static inline Ints all_ints(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline Ints load_ints(const void* p) {
    return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)p + 1)};
}
static inline __m256i mixed(__m256i x, __m256i low, __m256i high) {
    x = _mm256_mullo_epi32(_mm256_xor_si256(x, low), high);
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
    return _mm256_mullo_epi32(x, _mm256_set1_epi32(0x2C1B3C6D));
}
static inline Ints mixed(Ints x, Ints low, Ints high) {
    return {mixed(x.low, low.low, high.low), mixed(x.high, low.high, high.high)};
}
// A bit for each of 32 shorts that is not below the same one of `least`.
static inline uint32_t not_below(Ints x, Ints least) {
    const __m256i a = _mm256_cmpgt_epi16(least.low, x.low), b = _mm256_cmpgt_epi16(least.high, x.high);
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8));
}
static inline Ints all_shorts(int16_t x) { return {_mm256_set1_epi16(x), _mm256_set1_epi16(x)}; }
// Words of which a bit is set.
static inline Which with_bit(Ints x, uint32_t bit) {
    const __m256i one = _mm256_set1_epi32((int)bit);
    auto set = [&](__m256i w) {
        return _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(w, one), one)));
    };
    return (Which)(set(x.low) | set(x.high) << 8);
}

// 2^x: the whole part becomes an exponent. Below 2^-126 it is 0, above 2^128 infinite; a NaN stays.
static inline __m256 exp2_of(__m256 x) {
    const __m256 least = _mm256_set1_ps(-126.0f);
    const __m256 none = _mm256_cmp_ps(x, least, _CMP_LT_OQ);
    x = _mm256_min_ps(_mm256_set1_ps(128.0f), _mm256_max_ps(least, x));
    const __m256 whole = _mm256_floor_ps(x), f = _mm256_sub_ps(x, whole);
    __m256 p = _mm256_set1_ps(EXP2[0]);
    for (int t = 1; t < 6; t++) p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(EXP2[t]));
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(none, _mm256_mul_ps(p, _mm256_castsi256_ps(exponent)));
}
template <int N>
static inline void exp2_of(lanes* x) {
    for (int i = 0; i < N; i++) x[i] = {exp2_of(x[i].low), exp2_of(x[i].high)};
}

// Turn 8 rows of 8 into columns.
static inline void turn8(const float* from, ptrdiff_t step, float* to, ptrdiff_t to_step) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(from + i * step);
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        const int a = 4 * i;
        r[a] = _mm256_shuffle_ps(t[a], t[a + 2], 0x44), r[a + 1] = _mm256_shuffle_ps(t[a], t[a + 2], 0xee);
        r[a + 2] = _mm256_shuffle_ps(t[a + 1], t[a + 3], 0x44), r[a + 3] = _mm256_shuffle_ps(t[a + 1], t[a + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_step, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_step, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
static inline void turn(const float* from, ptrdiff_t step, float* to, ptrdiff_t to_step) {
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 16; j += 8) turn8(from + i * step + j, step, to + j * to_step + i, to_step);
}

// Lane i of the result is the sum of vector i.
static inline lanes sums(const lanes* v) {
    alignas(64) float rows[256], columns[256];
    for (int i = 0; i < 16; i++) store(rows + 16 * i, v[i]);
    turn(rows, 16, columns, 16);
    lanes total = load(columns);
    for (int i = 1; i < 16; i++) total = plus(total, load(columns + 16 * i));
    return total;
}
