// Attention of one head, forward and backward. Masks are the bits that `dropout.draw_lanes` makes, one for each weight.
//
// Forward a lane is a query, and the keys are walked along: scores, softmax and output of a query stay in its lane.
// Backward a lane is a key, and 16 queries are walked along: the weights are computed again, a key's gradients stay in
// its lane, and a query's are summed across lanes once it has been through all keys.
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

// Words of scratch for `keep_bits` and `across`.
static size_t bits_room(const Sizes& n) { return (size_t)L * (2 * n.chunks() + 4); }

// Which weights of 16 queries from i0 on a dropout keeps, of the keys before `upto` and perhaps more: bit starts[r] + j
// of `bits` is that of query i0 + r and key j.
static void keep_bits(const Masks& m, const Sizes& n, int local, int i0, int upto, uint32_t* bits, int* starts) {
    const Ints least = all_shorts((short)m.least);
    int64_t at = 0;  // of words
    for (int r = 0; r < L;) {
        const int i = i0 + r;
        if (i >= n.queries) {
            starts[r++] = 0;
            continue;
        }
        const int piece = i / m.rows, first = piece * m.rows;
        const int count = m.rows < n.queries - first ? m.rows : n.queries - first, width = n.seen(first, count);
        const int32_t* draw = m.keys + 2 * ((int64_t)(local / m.step) * m.pieces + piece);
        const Ints low = all_ints(draw[0]), high = all_ints(draw[1] | 1);
        int64_t lane = ((int64_t)(local % m.step) * count + i - first) * width;
        const int rows = first + count - i < L - r ? first + count - i : L - r;
        // queries lie one behind the other: all together, unless that is many keys that none of them sees
        const int each = width - upto < 64 ? rows : 1, last = width < upto ? width : upto;
        for (int done = 0; done < rows; done += each, lane += (int64_t)each * width) {
            for (int t = 0; t < each; t++) starts[r + done + t] = (int)(32 * at + lane % 32) + t * width;
            const int64_t some = (int64_t)(each - 1) * width + last;
            for (int64_t l = lane / 32 * 32; l < lane + some; l += 32)
                bits[at++] = kept(m.noise + l / 2, low, high, least);
        }
        r += rows;
    }
}

// What `keep_bits` found, a query in each lane: 16 words for every 32 keys. They lie behind the bits.
static const uint32_t* across(const Sizes& n, int upto, uint32_t* bits, const int* starts) {
    uint32_t* words = bits + L * (n.chunks() + 4);
    for (int c = 0; 32 * c < upto; c++)
        for (int r = 0; r < L; r++) words[c * L + r] = bits_from(bits, starts[r] + 32 * c);
    return words;
}

constexpr int AT_ONCE = 4;  // weights computed side by side: an exponential is slow, and hides behind others
static const uint32_t BIT[32] = {
    1u << 0,  1u << 1,  1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,  1u << 8,  1u << 9,  1u << 10,
    1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15, 1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21,
    1u << 22, 1u << 23, 1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31,
};
constexpr float SAFE = 60.0f;  // scores (to base 2) up to here need no shift: 2^60 times any number of keys is finite

// Scores of 16 queries and of N keys, less a shift. A bias is added to the finished score, as elsewhere: -1e9 swallows
// it, so hidden keys are alike.
template <int W, int N>
static inline void scores(const lanes* q, const float* row, const float* bias, lanes shift, lanes* s) {
    for (int u = 0; u < N; u++) s[u] = bias ? zero() : minus(zero(), shift);
    for (int c = 0; c < W; c++)
        for (int u = 0; u < N; u++) s[u] = fma(q[c], all(row[u * 2 * W + c]), s[u]);
    if (bias)
        for (int u = 0; u < N; u++) s[u] = minus(plus(s[u], all(bias[u] * LOG2E)), shift);
}

// Lanes, of the queries from i0 on, that see key j.
static inline Which sees(const Sizes& n, int i0, int j) {
    const int first = n.causal ? j - n.offset - i0 : 0;
    return first <= 0 ? 0xffff : first >= L ? 0 : (Which)(0xffffu << first);
}

// Floats of scratch that `attend` needs.
static size_t attend_room(int W, const Sizes& n) { return up(2 * W * n.keys + L) + bits_room(n); }

// One head. q (W, wide) in lanes; k, v (keys, W) with a step between rows; bias (keys) or null is added to the scores.
// Writes out (W, wide), and for the backward pass shift and 1 / total of each query.
template <int W>
static void attend(const float* q, const float* k, ptrdiff_t k_t, const float* v, ptrdiff_t v_t, const float* bias,
                   const Sizes& n, const Masks& m, int local, float* room, float* out, float* inverse, float* shifts) {
    const int wide = n.wide_q();
    float* rows = room;  // a key and its value, side by side: those of many steps are near a core
    uint32_t* bits = (uint32_t*)(room + up(2 * W * n.keys + L));
    int starts[L];
    lanes squares = zero();  // of each channel the largest
    for (int j = 0; j < n.keys; j++) {
        const lanes row = load_some(first_of(W), k + j * k_t);
        squares = larger(times(row, row), squares);
        store(rows + j * 2 * W, row);  // and some behind it, which is written next
        store(rows + j * 2 * W + W, load_some(first_of(W), v + j * v_t));
    }
    const float most = sum_of(squares);
    for (int i0 = 0; i0 < n.queries; i0 += L) {
        const int end = n.seen(i0, L), clear = n.causal ? n.seen(i0, 1) : end;  // keys that some see, and that all do
        lanes mine[W], acc[W], square = zero(), shift = zero(), sum = zero();
        for (int c = 0; c < W; c++) {
            mine[c] = times(load(q + c * wide + i0), all(LOG2E));
            square = fma(mine[c], mine[c], square);
            acc[c] = zero();
        }
        const uint32_t* words = nullptr;
        if (m.on) {
            keep_bits(m, n, local, i0, end, bits, starts);
            words = across(n, end, bits, starts);
        }
        lanes p[AT_ONCE];
        if (bias || !(most_of(square) * most <= SAFE * SAFE)) {
            shift = all(-INFINITY);
            for (int j = 0; j < end; j++) {
                scores<W, 1>(mine, rows + j * 2 * W, bias ? bias + j : nullptr, zero(), p);
                shift = choose(sees(n, i0, j), larger(p[0], shift), shift);
            }
        }
        auto some = [&](int j, auto many) {
            constexpr int N = many;
            const float* row = rows + j * 2 * W;
            scores<W, N>(mine, row, bias ? bias + j : nullptr, shift, p);
            exp2_of<N>(p);
            if (j + N > clear)
                for (int u = 0; u < N; u++) p[u] = pick(sees(n, i0, j + u), p[u]);
            for (int u = 0; u < N; u++) sum = plus(sum, p[u]);
            if (words) {
                const Ints word = load_ints(words + j / 32 * L);
                for (int u = 0; u < N; u++) p[u] = pick(with_bit(word, BIT[(j + u) % 32]), p[u]);
            }
            for (int c = 0; c < W; c++)
                for (int u = 0; u < N; u++) acc[c] = fma(p[u], all(row[u * 2 * W + W + c]), acc[c]);
        };
        int j = 0;
        for (; j + AT_ONCE <= end; j += AT_ONCE) some(j, std::integral_constant<int, AT_ONCE>());
        for (; j < end; j++) some(j, std::integral_constant<int, 1>());
        const lanes inverted = over(all(1.0f), sum), factor = times(inverted, all(m.scale));
        for (int c = 0; c < W; c++) store(out + c * wide + i0, times(acc[c], factor));
        store(inverse + i0, inverted);
        store(shifts + i0, shift);
    }
}

constexpr int STRIP = 8;  // times 16 keys whose weights the backward pass holds at a time

// A query of the backward pass in a row: q * log2(e) and its output's gradient over its total, W each; -shift, -level.
constexpr int row_of(int W) { return (2 * W + 2 + L - 1) / L * L; }

// Floats of scratch that `attend_back` needs.
static size_t back_room(int W, const Sizes& n) { return L * (row_of(W) + W * L + 2 * STRIP * L) + bits_room(n); }

// Rows of 16 queries.
template <int W>
static void make_rows(const float* q, const float* out, const float* grad, ptrdiff_t wide, lanes inverse, lanes shift,
                      float scale, float* rows) {
    constexpr int R = row_of(W);
    alignas(64) float columns[R * L];
    const lanes factor = times(inverse, all(scale));
    lanes level = zero();
    for (int c = 0; c < W; c++) {
        const lanes g = load(grad + c * wide);
        level = fma(g, load(out + c * wide), level);
        store(columns + c * L, times(load(q + c * wide), all(LOG2E)));
        store(columns + (W + c) * L, times(g, factor));
    }
    store(columns + 2 * W * L, minus(zero(), shift));
    store(columns + (2 * W + 1) * L, minus(zero(), times(level, inverse)));
    for (int c = 2 * W + 2; c < R; c++) store(columns + c * L, zero());
    for (int c = 0; c < R; c += L) turn(columns + c * L, L, rows + c, R);
}

// 16 keys in lanes.
struct Tile {
    const float *k, *v;
    ptrdiff_t wide;  // from channel to channel
    const float* bias;
};

// The weights of 16 keys and some queries, and the gradients of their scores. SOME: a query sees only the keys `seen`,
// and of its weights those are kept of which `bits` has a bit, from starts[query] on; no bits: all.
template <int W, bool SOME>
static void weigh(const float* rows, int count, const Tile& tile, const Which* seen, const uint32_t* bits,
                  const int* starts, float* used, float* back) {
    constexpr int R = row_of(W), N = AT_ONCE;
    const bool bias = tile.bias != nullptr;
    const lanes added = bias ? times(load(tile.bias), all(LOG2E)) : zero();
    for (int i = 0; i < count; i += N) {
        const float* row = rows + i * R;
        lanes p[N], g[N];
        for (int u = 0; u < N; u++) {
            p[u] = bias ? zero() : all(row[u * R + 2 * W]);
            g[u] = all(row[u * R + 2 * W + 1]);
        }
        for (int c = 0; c < W; c++) {
            const lanes key = load(tile.k + c * tile.wide);
            for (int u = 0; u < N; u++) p[u] = fma(key, all(row[u * R + c]), p[u]);
        }
        if (bias)
            for (int u = 0; u < N; u++) p[u] = plus(plus(p[u], added), all(row[u * R + 2 * W]));
        for (int c = 0; c < W; c++) {
            const lanes value = load(tile.v + c * tile.wide);
            for (int u = 0; u < N; u++) g[u] = fma(value, all(row[u * R + W + c]), g[u]);
        }
        exp2_of<N>(p);
        for (int u = 0; u < N; u++) {
            lanes kept = p[u];
            if (SOME) {
                kept = p[u] = pick(seen[i + u], p[u]);
                if (bits) {
                    const Which keep = (Which)bits_from(bits, starts[i + u]);
                    g[u] = choose(keep, g[u], all(row[u * R + 2 * W + 1]));
                    kept = pick(keep, kept);
                }
            }
            store(used + (i + u) * L, kept);
            store(back + (i + u) * L, times(p[u], g[u]));
        }
    }
}

// What some queries add to the gradients of 16 keys.
template <int W>
static void of_keys(const float* rows, int count, const float* used, const float* back, ptrdiff_t wide, float* dk,
                    float* dv) {
    constexpr int R = row_of(W);
    lanes of_k[W], of_v[W];
    for (int c = 0; c < W; c++) {
        of_k[c] = load(dk + c * wide);
        of_v[c] = load(dv + c * wide);
    }
    for (int i = 0; i < count; i++) {
        const lanes p = load(used + i * L), d = load(back + i * L);
        for (int c = 0; c < W; c++) {
            of_k[c] = fma(d, all(rows[i * R + c]), of_k[c]);
            of_v[c] = fma(p, all(rows[i * R + W + c]), of_v[c]);
        }
    }
    for (int c = 0; c < W; c++) {
        store(dk + c * wide, of_k[c]);
        store(dv + c * wide, of_v[c]);
    }
}

// What some times 16 keys add to the gradients of two queries, which are still in lanes.
template <int W>
static void of_queries(const float* back, int tiles, const float* k, ptrdiff_t wide, bool fresh, float* parts) {
    lanes one[W], two[W];
    for (int c = 0; c < W; c++) {
        one[c] = fresh ? zero() : load(parts + c * L);
        two[c] = fresh ? zero() : load(parts + (W + c) * L);
    }
    for (int t = 0; t < tiles; t++) {
        const lanes d = load(back + t * L * L), e = load(back + (t * L + 1) * L);
        for (int c = 0; c < W; c++) {
            const lanes key = load(k + c * wide + t * L);
            one[c] = fma(d, key, one[c]);
            two[c] = fma(e, key, two[c]);
        }
    }
    for (int c = 0; c < W; c++) {
        store(parts + c * L, one[c]);
        store(parts + (W + c) * L, two[c]);
    }
}

// The gradients of one head, all in lanes: q, out, grad, dq (W, wide of queries); k, v, dk, dv (W, wide of keys). What
// lies beyond the last query or key is 0 where grad is.
template <int W>
static void attend_back(const float* q, const float* k, const float* v, const float* bias, const Sizes& n,
                        const Masks& m, int local, const float* out, const float* grad, const float* inverse,
                        const float* shifts, float* room, float* dq, float* dk, float* dv) {
    const int wide = n.wide_q(), wide_k = n.wide_k();
    float *rows = room, *parts = rows + L * row_of(W), *used = parts + L * W * L, *back = used + STRIP * L * L;
    uint32_t* bits = (uint32_t*)(back + STRIP * L * L);
    std::memset(dk, 0, sizeof(float) * W * wide_k);
    std::memset(dv, 0, sizeof(float) * W * wide_k);
    for (int i0 = 0; i0 < n.queries; i0 += L) {
        const int count = n.queries - i0 < L ? n.queries - i0 : L, end = n.seen(i0, count);
        const int clear = n.causal ? n.seen(i0, 1) : end;
        int starts[L] = {};
        make_rows<W>(q + i0, out + i0, grad + i0, wide, load(inverse + i0), load(shifts + i0), m.scale, rows);
        if (m.on) keep_bits(m, n, local, i0, end, bits, starts);
        for (int s0 = 0; s0 < end; s0 += STRIP * L) {
            const int tiles = end - s0 < STRIP * L ? (end - s0 + L - 1) / L : STRIP;
            for (int t = 0; t < tiles; t++) {
                const int j0 = s0 + t * L;
                float *weights = used + t * L * L, *slopes = back + t * L * L;
                alignas(64) float added[L];  // to the scores
                if (bias) store(added, load_some(first_of(n.keys - j0), bias + j0));
                const Tile tile{k + j0, v + j0, wide_k, bias ? added : nullptr};
                if (!m.on && j0 + L <= clear) {
                    weigh<W, false>(rows, count, tile, nullptr, nullptr, nullptr, weights, slopes);
                } else {
                    Which seen[L];
                    int places[L];
                    for (int r = 0; r < L; r++) {
                        seen[r] = first_of((n.causal ? n.seen(i0 + r, 1) : end) - j0);
                        places[r] = starts[r] + j0;
                    }
                    weigh<W, true>(rows, count, tile, seen, m.on ? bits : nullptr, places, weights, slopes);
                }
                of_keys<W>(rows, count, weights, slopes, wide_k, dk + j0, dv + j0);
            }
            for (int r = 0; r < count; r += 2)
                of_queries<W>(back + r * L, tiles, k + s0, wide_k, s0 == 0, parts + r * W * L);
        }
        std::memset(parts + count * W * L, 0, sizeof(float) * (L - count) * W * L);
        for (int c = 0; c < W; c++) {
            lanes part[L];
            for (int r = 0; r < L; r++) part[r] = load(parts + (r * W + c) * L);
            store(dq + c * wide + i0, sums(part));
        }
    }
    for (int i = 0; i < W * wide_k; i += L) store(dk + i, times(load(dk + i), all(1 / LOG2E)));
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
