// Attention of one head, forward and backward, 16 queries at a time: a lane is a query, keys are walked along.
//
// Nothing is summed across lanes: scores, softmax and output of a query stay in its lane. The backward pass computes the
// weights again and turns blocks of 16 queries and 16 keys for the gradients of keys and values. Masks are the bits that
// `dropout.draw_lanes` makes, one for each weight.
#pragma once
#include "bits.h"

// How dropout cuts the scores of one encoder and seed into blocks (`attention.plan_cut`), and where its bits come from.
struct Masks {
    const int32_t* keys;   // of the draws of this encoder and seed, two each
    const int32_t* noise;  // with 64 words behind its end that may be read
    int least;             // the least lane that is kept
    float scale;           // of what is kept
    int rows, step, pieces;
    bool on;
};

// Sizes of one head: its queries and keys, and which a query sees: up to its own number + offset; no offset: all.
struct Sizes {
    int queries, keys, offset;
    bool causal;
    int wide_q() const { return up(queries); }
    int wide_k() const { return up(keys); }
    int chunks() const { return (keys + 31) / 32; }
    int seen(int first, int count) const {  // keys that the queries from `first` on see
        if (!causal) return keys;
        const int end = first + count + offset;
        return end < 1 ? 1 : end < keys ? end : keys;
    }
};

// The bits of 16 queries from i0 on: bits[chunk * 16 + lane] holds keys 32 chunk to 32 chunk + 31 of one of them.
static void keep_bits(const Masks& m, const Sizes& n, int local, int i0, int upto, uint32_t* bits) {
    const int chunks = (upto + 31) / 32;
    if (!m.on) {
        std::memset(bits, 0xff, sizeof(uint32_t) * L * chunks);
        return;
    }
    const __m512i least = _mm512_set1_epi16((short)m.least);
    for (int r = 0; r < L; r++) {
        const int i = i0 + r;
        if (i >= n.queries) {
            for (int c = 0; c < chunks; c++) bits[c * L + r] = 0;
            continue;
        }
        const int piece = i / m.rows, first = piece * m.rows;
        const int count = m.rows < n.queries - first ? m.rows : n.queries - first, width = n.seen(first, count);
        const int32_t* draw = m.keys + 2 * ((int64_t)(local / m.step) * m.pieces + piece);
        const __m512i low = _mm512_set1_epi32(draw[0]), high = _mm512_set1_epi32(draw[1] | 1);
        const int64_t at = ((int64_t)(local % m.step) * count + i - first) * width;
        const int32_t* words = m.noise + (at >> 1);
        const int mine = upto < width ? chunks : (width + 31) / 32;  // beyond its width a query sees nothing
        uint32_t now = kept(words, low, high, least);
        for (int c = 0; c < chunks; c++) {
            if (c >= mine) {
                bits[c * L + r] = 0;
                continue;
            }
            const bool more = (at & 1) || c + 1 < mine;
            const uint32_t next = more ? kept(words + 16 * (c + 1), low, high, least) : 0;
            bits[c * L + r] = (at & 1) ? (now >> 1) | (next << 31) : now;
            now = next;
        }
    }
}

template <int W>
static inline lanes dot(const lanes* x, const float* y, lanes start) {
    for (int c = 0; c < W; c++) start = fma(x[c], all(y[c]), start);
    return start;
}

// Scores less a shift. A bias is added to the finished score, as elsewhere: -1e9 swallows it, so hidden keys are alike.
template <int W>
static inline lanes score(const lanes* q, const float* k, const float* bias, int j, lanes shift) {
    if (!bias) return dot<W>(q, k, _mm512_sub_ps(zero(), shift));
    return _mm512_sub_ps(_mm512_add_ps(dot<W>(q, k, zero()), all(bias[j] * LOG2E)), shift);
}

// Lanes, of the queries from i0 on, that see key j.
static inline __mmask16 sees(const Sizes& n, int i0, int j) {
    const int first = n.causal ? j - n.offset - i0 : 0;
    return first <= 0 ? 0xffff : first >= L ? 0 : (__mmask16)(0xffffu << first);
}

constexpr float SAFE = 60.0f;  // scores (to base 2) up to here need no shift: 2^60 times any number of keys is finite

// One head. q (W, wide) in lanes; k, v (keys, W) with a step between rows; bias (keys) or null is added to the scores.
// Writes out (W, wide), and for the backward pass shift and 1 / total of each query.
template <int W>
static void attend(const float* q, const float* k, ptrdiff_t k_t, const float* v, ptrdiff_t v_t, const float* bias,
                   const Sizes& n, const Masks& m, int local, uint32_t* bits, float* out, float* inverse,
                   float* shifts) {
    const int wide = n.wide_q();
    float most = 0;
    for (int j = 0; j < n.keys; j++) {
        float square = 0;
        for (int c = 0; c < W; c++) square += k[j * k_t + c] * k[j * k_t + c];
        most = square > most ? square : most;
    }
    for (int i0 = 0; i0 < n.queries; i0 += L) {
        const int end = n.seen(i0, L);
        lanes mine[W], acc[W], square = zero(), shift = zero(), sum = zero();
        for (int c = 0; c < W; c++) {
            mine[c] = _mm512_mul_ps(load(q + c * wide + i0), all(LOG2E));
            square = fma(mine[c], mine[c], square);
            acc[c] = zero();
        }
        keep_bits(m, n, local, i0, end, bits);
        if (bias || !(_mm512_reduce_max_ps(square) * most <= SAFE * SAFE)) {
            shift = all(-INFINITY);
            for (int j = 0; j < end; j++) {
                const lanes s = score<W>(mine, k + j * k_t, bias, j, zero());
                shift = _mm512_mask_max_ps(shift, sees(n, i0, j), s, shift);
            }
        }
        for (int j = 0; j < end; j++) {
            const lanes s = score<W>(mine, k + j * k_t, bias, j, shift);
            const lanes p = _mm512_maskz_mov_ps(sees(n, i0, j), exp2_of(s));
            sum = _mm512_add_ps(sum, p);
            const __m512i word = _mm512_loadu_si512(bits + j / 32 * L);
            const lanes used = _mm512_maskz_mov_ps(_mm512_test_epi32_mask(word, _mm512_set1_epi32(1u << (j & 31))), p);
            for (int c = 0; c < W; c++) acc[c] = fma(used, all(v[j * v_t + c]), acc[c]);
        }
        const lanes one = _mm512_div_ps(all(1.0f), sum), factor = _mm512_mul_ps(one, all(m.scale));
        for (int c = 0; c < W; c++) store(out + c * wide + i0, _mm512_mul_ps(acc[c], factor));
        store(inverse + i0, one);
        store(shifts + i0, shift);
    }
}

// Floats of scratch that `attend_back` needs.
static size_t back_room(int W, const Sizes& n) {
    return (size_t)n.wide_q() * (4 * W + 1 + n.chunks()) + 2 * (size_t)n.wide_k() * W + 4 * L * L + n.wide_q();
}

// The gradients of one head, everything in lanes: q, out, grad, dq (W, wide of queries); k, v, dk, dv (W, wide of keys).
// What lies beyond the last query or key is 0 where grad is.
template <int W>
static void attend_back(const float* q, const float* k_lanes, const float* v_lanes, const float* bias, const Sizes& n,
                        const Masks& m, int local, const float* out, const float* grad, const float* inverse,
                        const float* shifts, float* room, float* dq, float* dk, float* dv) {
    const int wide = n.wide_q(), wide_k = n.wide_k(), chunks = n.chunks(), q_t = W, k_t = W, v_t = W;
    float *q_rows = room, *k = q_rows + W * wide, *v = k + W * wide_k;
    float *scaled = v + W * wide_k, *slope = scaled + W * wide, *slope_rows = slope + W * wide;
    float* mean = slope_rows + W * wide;
    transpose(q, wide, W, n.queries, q_rows, W, W);
    transpose(k_lanes, wide_k, W, n.keys, k, W, W);
    transpose(v_lanes, wide_k, W, n.keys, v, W, W);
    uint32_t* bits = (uint32_t*)(mean + wide);
    alignas(64) float used[L * L], back[L * L], used_t[L * L], back_t[L * L];
    for (int i0 = 0; i0 < n.queries; i0 += L) {
        keep_bits(m, n, local, i0, n.seen(i0, L), bits + (size_t)i0 * chunks);
        const lanes one = load(inverse + i0), factor = _mm512_mul_ps(one, all(m.scale));
        lanes level = zero();
        for (int c = 0; c < W; c++) {
            const int at = c * wide + i0;
            store(scaled + at, _mm512_mul_ps(load(q + at), all(LOG2E)));
            store(slope + at, _mm512_mul_ps(load(grad + at), factor));
            level = fma(load(grad + at), load(out + at), level);
            store(dq + at, zero());
        }
        store(mean + i0, _mm512_mul_ps(level, one));
    }
    transpose(slope, wide, W, wide, slope_rows, W, W);
    for (int j0 = 0; j0 < n.keys; j0 += L) {
        const int last = j0 + L < n.keys ? j0 + L : n.keys;
        lanes of_k[W], of_v[W];
        for (int c = 0; c < W; c++) of_k[c] = of_v[c] = zero();
        int first = n.causal ? j0 - n.offset : 0;  // the first query that sees one of these keys
        first = first < 0 ? 0 : first / L * L;
        for (int i0 = first; i0 < n.queries; i0 += L) {
            lanes mine[W], his[W], acc[W];
            for (int c = 0; c < W; c++) {
                mine[c] = load(scaled + c * wide + i0);
                his[c] = load(slope + c * wide + i0);
                acc[c] = load(dq + c * wide + i0);
            }
            const lanes level = load(mean + i0), shift = load(shifts + i0);
            const __m512i word = _mm512_loadu_si512(bits + (size_t)i0 * chunks + j0 / 32 * L);
            for (int j = j0; j < last; j++) {
                const lanes s = score<W>(mine, k + j * k_t, bias, j, shift);
                const lanes p = _mm512_maskz_mov_ps(sees(n, i0, j), exp2_of(s));
                const __mmask16 keep = _mm512_test_epi32_mask(word, _mm512_set1_epi32(1u << (j & 31)));
                const lanes g = _mm512_maskz_mov_ps(keep, dot<W>(his, v + j * v_t, zero()));
                const lanes d = _mm512_mul_ps(p, _mm512_sub_ps(g, level));
                for (int c = 0; c < W; c++) acc[c] = fma(d, all(k[j * k_t + c]), acc[c]);
                store(used + (j - j0) * L, _mm512_maskz_mov_ps(keep, p));
                store(back + (j - j0) * L, d);
            }
            for (int c = 0; c < W; c++) store(dq + c * wide + i0, acc[c]);
            for (int j = last - j0; j < L; j++) {
                store(used + j * L, zero());
                store(back + j * L, zero());
            }
            turn(used, L, used_t, L);
            turn(back, L, back_t, L);
            const int count = n.queries - i0 < L ? n.queries - i0 : L;
            for (int i = 0; i < count; i++) {
                const lanes d = load(back_t + i * L), p = load(used_t + i * L);
                for (int c = 0; c < W; c++) {
                    of_k[c] = fma(d, all(q_rows[(i0 + i) * q_t + c]), of_k[c]);
                    of_v[c] = fma(p, all(slope_rows[(i0 + i) * W + c]), of_v[c]);
                }
            }
        }
        for (int c = 0; c < W; c++) {
            store(dk + c * wide_k + j0, of_k[c]);
            store(dv + c * wide_k + j0, of_v[c]);
        }
    }
}

typedef decltype(&attend<1>) Attend;
typedef decltype(&attend_back<1>) AttendBack;
constexpr int WIDEST = 12;  // a head wider than this goes another way
static const Attend ATTEND[WIDEST + 1] = {
    nullptr,   attend<1>, attend<2>, attend<3>, attend<4>,  attend<5>,  attend<6>,
    attend<7>, attend<8>, attend<9>, attend<10>, attend<11>, attend<12>,
};
static const AttendBack ATTEND_BACK[WIDEST + 1] = {
    nullptr,        attend_back<1>, attend_back<2>, attend_back<3>,  attend_back<4>,  attend_back<5>,  attend_back<6>,
    attend_back<7>, attend_back<8>, attend_back<9>, attend_back<10>, attend_back<11>, attend_back<12>,
};
