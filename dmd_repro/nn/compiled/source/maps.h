// Linear maps of activations in lanes, (channels, steps): out = W x, and the gradient of W. A lane is a step of time.
#pragma once
#include "bits.h"

constexpr int TILE = 3 * L;  // steps that a layer takes through its maps together

static inline int blocks_of(int n, int most) { return (n + most - 1) / most; }
static inline int block_at(int n, int blocks, int i) { return (int)((int64_t)n * i / blocks); }

// A weight (n, k) in the order a map reads it: block of rows after block, in each all rows of a column together.
struct Packed {
    const float* at;
    int n, k;
};

// Element (i, j) of a weight is at from[i * n_step + j * k_step]; rows and columns may be scaled on the way.
static Packed pack(const float* from, ptrdiff_t n_step, ptrdiff_t k_step, int n, int k, const float* rows,
                   const float* columns, float* to) {
    const int blocks = blocks_of(n, ROWS);
    for (int b = 0; b < blocks; b++) {
        const int first = block_at(n, blocks, b), last = block_at(n, blocks, b + 1), count = last - first;
        float* block = to + (ptrdiff_t)first * k;
        for (int i = 0; i < count; i++) {
            const float row = rows ? rows[first + i] : 1.0f;
            const float* line = from + (first + i) * n_step;
            for (int j = 0; j < k; j++) block[j * count + i] = line[j * k_step] * (columns ? columns[j] * row : row);
        }
    }
    return {to, n, k};
}

// Memory that will be read soon: fetched a few lines at a time while a product keeps the processor busy.
struct Ahead {
    const char *at = nullptr, *end = nullptr;
    Ahead() {}
    Ahead(const float* from, size_t floats) : at((const char*)from), end((const char*)(from + floats)) {}
    void fetch(int lines) {
        for (; lines > 0 && at < end; lines--, at += 64) _mm_prefetch(at, _MM_HINT_T1);
    }
};

// What happens to a product besides: a bias (n) before it, behind it a ReLU, then dropout, then rows added (without
// dropout they are added first); or, for the gradient of both, `gate_scale` times it where `gate` is above 0, else 0.
struct Besides {
    const float* bias = nullptr;
    const float* add = nullptr;
    ptrdiff_t add_step = 0;
    const float* gate = nullptr;
    ptrdiff_t gate_step = 0;
    float gate_scale = 1.0f;
    bool relu = false;
    Keep keep;
    Ahead* ahead = nullptr;
};

template <int N, int V>
static inline void map_block(const float* w, int k, const float* x, ptrdiff_t x_step, float* out, ptrdiff_t out_step,
                             int first, const Besides& s) {
    lanes acc[N][V];
    for (int i = 0; i < N; i++)
        for (int v = 0; v < V; v++) {
            if (s.gate) _mm_prefetch((const char*)(s.gate + (first + i) * s.gate_step + v * L), _MM_HINT_T0);
            __builtin_prefetch(out + (first + i) * out_step + v * L, 1);
        }
    if (s.ahead) s.ahead->fetch(N * V);
    for (int i = 0; i < N; i++)
        for (int v = 0; v < V; v++) {
            acc[i][v] = s.bias ? all(s.bias[first + i]) : zero();
            if (s.add && !s.keep.words)
                acc[i][v] = plus(acc[i][v], load(s.add + (first + i) * s.add_step + v * L));
        }
    for (int j = 0; j < k; j++) {
        lanes in[V];
        for (int v = 0; v < V; v++) in[v] = load(x + j * x_step + v * L);
        for (int i = 0; i < N; i++) {
            const lanes factor = all(w[j * N + i]);
            for (int v = 0; v < V; v++) acc[i][v] = fma(factor, in[v], acc[i][v]);
        }
    }
    for (int i = 0; i < N; i++)
        for (int v = 0; v < V; v++) {
            if (s.relu) acc[i][v] = larger(zero(), acc[i][v]);  // in this order a NaN stays
            if (s.gate) {
                const lanes reached = load(s.gate + (first + i) * s.gate_step + v * L);
                acc[i][v] = times(acc[i][v], all(s.gate_scale));
                acc[i][v] = choose(not_above_0(reached), zero(), acc[i][v]);
            }
            if (s.keep.words) {
                const lanes factor = s.keep.factor(first + i, v * L);
                if (s.add) acc[i][v] = fma(acc[i][v], factor, load(s.add + (first + i) * s.add_step + v * L));
                else acc[i][v] = times(acc[i][v], factor);
            }
            store(out + (first + i) * out_step + v * L, acc[i][v]);
        }
}

template <int V, int N = ROWS>
static inline void map_rows(int n, const float* w, int k, const float* x, ptrdiff_t x_step, float* out,
                            ptrdiff_t out_step, int first, const Besides& s) {
    if constexpr (N > 1)
        if (n < N) return map_rows<V, N - 1>(n, w, k, x, x_step, out, out_step, first, s);
    map_block<N, V>(w, k, x, x_step, out, out_step, first, s);
}

// The same over as many vectors as are left, at most V.
template <int V = VECTORS>
static inline void map_vectors(int vectors, int n, const float* w, int k, const float* x, ptrdiff_t x_step, float* out,
                               ptrdiff_t out_step, int first, const Besides& s) {
    if constexpr (V > 1)
        if (vectors < V) return map_vectors<V - 1>(vectors, n, w, k, x, x_step, out, out_step, first, s);
    map_rows<V>(n, w, k, x, x_step, out, out_step, first, s);
}

// out (n, steps) = W x (k, steps), at most TILE steps, in whole vectors.
static void apply(const Packed& w, const float* x, ptrdiff_t x_step, float* out, ptrdiff_t out_step, int steps,
                  const Besides& s) {
    const int blocks = blocks_of(w.n, ROWS);
    for (int b = 0; b < blocks; b++) {
        const int first = block_at(w.n, blocks, b), n = block_at(w.n, blocks, b + 1) - first;
        const float* at = w.at + (ptrdiff_t)first * w.k;
        for (int t = 0; t < steps; t += VECTORS * L) {
            Besides here = s;
            if (s.add) here.add += t;
            if (s.gate) here.gate += t;
            if (s.keep.words) here.keep.words += t;
            map_vectors((steps - t) / L, n, at, w.k, x + t, x_step, out + t, out_step, first, here);
        }
    }
}

// Rows of activations of all clips of a group: `clip` floats from clip to clip, `wide` from row to row.
struct Rows {
    const float* at;
    ptrdiff_t clip;
    int wide;
};

// Sum of the products of N rows of p and K rows of q; one of the two steps is 1, so that sums go out in short rows.
template <int N, int K>
static inline void outer_block(const Rows& p, int n, const Rows& q, int k, int first, int last, float* out,
                               ptrdiff_t n_step, ptrdiff_t k_step) {
    lanes sum[N * K];
    for (int i = 0; i < N * K; i++) sum[i] = zero();
    for (int b = first; b < last; b++) {
        const float *x = p.at + b * p.clip + (ptrdiff_t)n * p.wide, *y = q.at + b * q.clip + (ptrdiff_t)k * q.wide;
        for (int t = 0; t < p.wide; t += L) {
            lanes left[N];
            for (int i = 0; i < N; i++) left[i] = load(x + i * p.wide + t);
            for (int j = 0; j < K; j++) {
                const lanes right = load(y + j * q.wide + t);
                for (int i = 0; i < N; i++) sum[i * K + j] = fma(left[i], right, sum[i * K + j]);
            }
        }
    }
    alignas(64) float totals[(N * K + L - 1) / L * L + L];  // a row of few is read as a whole vector
    const bool along_k = k_step == 1;
    lanes some[L];
    for (int from = 0; from < N * K; from += L) {
        for (int i = 0; i < L; i++) {
            const int at = from + i;
            some[i] = at < N * K ? sum[at] : zero();
        }
        store(totals + from, sums(some));
    }
    if (along_k) {
        const Which width = first_of(K);
        for (int i = 0; i < N; i++) {
            float* to = out + (n + i) * n_step + k;
            store_some(to, width, plus(load_some(width, to), load(totals + i * K)));
        }
    } else {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < K; j++) out[(n + i) * n_step + (k + j) * k_step] += totals[i * K + j];
    }
}

template <int N = SIDE, int K = SIDE>
static inline void outer_some(int rows, int columns, const Rows& p, int n, const Rows& q, int k, int first, int last,
                              float* out, ptrdiff_t n_step, ptrdiff_t k_step) {
    if constexpr (N > 1)
        if (rows < N) return outer_some<N - 1, K>(rows, columns, p, n, q, k, first, last, out, n_step, k_step);
    if constexpr (K > 1)
        if (columns < K) return outer_some<N, K - 1>(rows, columns, p, n, q, k, first, last, out, n_step, k_step);
    outer_block<N, K>(p, n, q, k, first, last, out, n_step, k_step);
}

// Fetch a share (`piece` of `pieces`) of the rows n0 to n1 of some clips.
static inline void fetch_rows(const Rows& p, int n0, int n1, int first, int last, int piece, int pieces) {
    if (n1 <= n0) return;
    const int begin = block_at(last - first, pieces, piece), end = block_at(last - first, pieces, piece + 1);
    for (int b = first + begin; b < first + end; b++) {
        Ahead rows(p.at + b * p.clip + (ptrdiff_t)n0 * p.wide, (size_t)(n1 - n0) * p.wide);
        rows.fetch(1 << 20);
    }
}

// out[i, j] += the sum over clips and steps of p's row i times q's row j, for rows n0 to n1 of p and k rows of q.
static void outer(const Rows& p, int n0, int n1, const Rows& q, int k, int clips, float* out, ptrdiff_t n_step,
                  ptrdiff_t k_step) {
    const int at_once = 1024 / p.wide > 1 ? 1024 / p.wide : 1;  // clips, so that what is read again stays in cache
    const int down = blocks_of(n1 - n0, SIDE), across = blocks_of(k, SIDE);
    for (int first = 0; first < clips; first += at_once) {
        const int last = first + at_once < clips ? first + at_once : clips;
        for (int a = 0; a < down; a++) {
            const int n = n0 + block_at(n1 - n0, down, a), count = n0 + block_at(n1 - n0, down, a + 1) - n;
            for (int b = 0; b < across; b++) {
                const int at = block_at(k, across, b), width = block_at(k, across, b + 1) - at;
                fetch_rows(p, n + count, n + 2 * count < n1 ? n + 2 * count : n1, first, last, b, across);
                outer_some(count, width, p, n, q, at, first, last, out, n_step, k_step);
            }
        }
    }
}

// out[i] += the sum over clips and steps of row i.
static void row_sums(const Rows& p, int n0, int n1, int clips, float* out) {
    for (int i = n0; i < n1; i++) {
        lanes total = zero();
        for (int b = 0; b < clips; b++)
            for (int t = 0; t < p.wide; t += L)
                total = plus(total, load(p.at + b * p.clip + (ptrdiff_t)i * p.wide + t));
        out[i] += sum_of(total);
    }
}
