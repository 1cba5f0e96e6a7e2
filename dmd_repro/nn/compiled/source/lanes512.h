// The operations of lanes.h for a processor with AVX-512 (F, BW, DQ, VL): sixteen float32 are one register.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

constexpr int ROWS = 8;     // of a map that are computed at once,
constexpr int VECTORS = 3;  // each over so many vectors: what 32 registers hold
constexpr int SIDE = 5;     // of the blocks of a weight's gradient

typedef __m512 lanes;
typedef __m512i Ints;
typedef __mmask16 Which;  // a bit for each lane

static inline lanes all(float x) { return _mm512_set1_ps(x); }
static inline lanes zero() { return _mm512_setzero_ps(); }
static inline lanes load(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, lanes x) { _mm512_storeu_ps(p, x); }
static inline lanes fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline lanes plus(lanes a, lanes b) { return _mm512_add_ps(a, b); }
static inline lanes minus(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
static inline lanes times(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
static inline lanes over(lanes a, lanes b) { return _mm512_div_ps(a, b); }
static inline lanes root(lanes a) { return _mm512_sqrt_ps(a); }
// The second where one of the two is no number.
static inline lanes larger(lanes a, lanes b) { return _mm512_max_ps(a, b); }

// Where there is no bit: 0; what stands in `other`; nothing is read or written.
static inline lanes pick(Which m, lanes x) { return _mm512_maskz_mov_ps(m, x); }
static inline lanes choose(Which m, lanes x, lanes other) { return _mm512_mask_mov_ps(other, m, x); }
static inline lanes load_some(Which m, const float* p) { return _mm512_maskz_loadu_ps(m, p); }
static inline void store_some(float* p, Which m, lanes x) { _mm512_mask_storeu_ps(p, m, x); }

// Lanes that are not above 0; a NaN is not one of them.
static inline Which not_above_0(lanes x) { return _mm512_cmp_ps_mask(x, zero(), _CMP_LE_OQ); }

static inline float most_of(lanes x) { return _mm512_reduce_max_ps(x); }
static inline float sum_of(lanes x) { return _mm512_reduce_add_ps(x); }

// Random words: two lanes of 16 bits each.
static inline Ints all_ints(int32_t x) { return _mm512_set1_epi32(x); }
static inline Ints all_shorts(int16_t x) { return _mm512_set1_epi16(x); }
static inline Ints load_ints(const void* p) { return _mm512_loadu_si512(p); }
static inline Ints mixed(Ints x, Ints low, Ints high) {
    x = _mm512_mullo_epi32(_mm512_xor_si512(x, low), high);
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    return _mm512_mullo_epi32(x, _mm512_set1_epi32(0x2C1B3C6D));
}
// A bit for each of 32 shorts that is not below the same one of `least`.
static inline uint32_t not_below(Ints x, Ints least) { return (uint32_t)_mm512_cmpge_epi16_mask(x, least); }
// Words of which a bit is set.
static inline Which with_bit(Ints x, uint32_t bit) { return _mm512_test_epi32_mask(x, _mm512_set1_epi32((int)bit)); }

// 2^x of several to about an ulp, side by side as each is a long chain: the fraction by a polynomial on [0, 1), the
// whole part put into the exponent. -inf gives 0, whatever its fraction, and a NaN stays.
template <int N>
static inline void exp2_of(lanes* x) {
    lanes f[N], p[N];
    for (int i = 0; i < N; i++) f[i] = _mm512_reduce_ps(x[i], 0x09);  // x - floor(x)
    for (int i = 0; i < N; i++) p[i] = fma(all(EXP2[0]), f[i], all(EXP2[1]));
    for (int t = 2; t < 6; t++)
        for (int i = 0; i < N; i++) p[i] = fma(p[i], f[i], all(EXP2[t]));
    for (int i = 0; i < N; i++) x[i] = _mm512_scalef_ps(p[i], x[i]);
}

// Turn 16 rows of 16 (at `from`, one behind the other) into columns.
static inline void turn(const float* from, ptrdiff_t step, float* to, ptrdiff_t to_step) {
    lanes r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = load(from + i * step);
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        const int a = 4 * i;
        r[a] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[a]), _mm512_castps_pd(t[a + 2])));
        r[a + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[a]), _mm512_castps_pd(t[a + 2])));
        r[a + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[a + 1]), _mm512_castps_pd(t[a + 3])));
        r[a + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[a + 1]), _mm512_castps_pd(t[a + 3])));
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        store(to + i * to_step, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
        store(to + (i + 8) * to_step, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
    }
}

// Lane i of the result is the sum of vector i.
static inline lanes sums(const lanes* v) {
    lanes a[8], b[4], c[2];
    for (int i = 0; i < 8; i++)
        a[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 4; i++) {
        const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);
        b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
    }
    for (int i = 0; i < 2; i++)
        c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
}
