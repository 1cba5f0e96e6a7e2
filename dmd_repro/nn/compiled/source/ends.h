// The two ends of a bank of encoders: from inputs in rows, (G, B, T, d), to lanes with positions and dropout, and from
// lanes through the last LayerNorm back to rows. One pass over a clip each, forward and backward.
#pragma once
#include "bits.h"
#include "norm.h"

struct BeginCall {
    const float *x, *table;              // (G, B, T, d), positions (T, d)
    const int32_t *noise, *keys0, *keys1;  // of each output's dropout; null: none
    float *y0, *y1, *rate0, *rate1;      // outputs in lanes; y1 null: only one. The rates of each step if `normed`
    const float *grad0, *grad1;
    float* dx;
    double factor, scale;  // of x; of what dropout keeps
    int64_t groups, clips, steps, width, encoders, draws_s, least, normed, threads;
};

struct Begin {
    const BeginCall& a;
    int T, d, wide;
    int64_t each;

    explicit Begin(const BeginCall& call)
        : a(call), T(call.steps), d(call.width), wide(up(T)), each((int64_t)T * d) {}

    size_t room() const { return 3 * each + 3 * (size_t)d * wide + 2 * wide + each / 32 + 64; }

    // Which elements of a clip's rows are kept, as bits from the returned place on.
    int64_t bits(const int32_t* keys, int at, uint32_t* to) const {
        const int64_t share = a.encoders * a.clips, begin = at % share * each;
        keep_run(a.noise, keys + at / share * a.draws_s, (int)a.least, begin, each, to);
        return begin % 32;
    }

    static Which some(const uint32_t* bits, int64_t at, int n) {
        const uint64_t two = bits[at / 32] | (uint64_t)bits[at / 32 + 1] << 32;
        return (Which)((two >> (at % 32)) & ((1u << n) - 1));
    }

    template <class F>
    void pieces(F f) const {  // of each row: where it begins, its step and channel, how many channels
        for (int t = 0; t < T; t++)
            for (int c = 0; c < d; c += L) f((int64_t)t * d + c, t, c, d - c < L ? d - c : L);
    }

    void forward(int at, float* own) const {
        const float* x = a.x + at * each;
        float *laid = own, *dropped = laid + each, *mean = dropped + each;
        uint32_t* mask = (uint32_t*)(mean + 2 * wide);
        pieces([&](int64_t i, int t, int c, int n) {
            const Which in = first_of(n);
            lanes v = times(load_some(in, x + i), all(a.factor));
            if (x[(int64_t)t * d] != 0) v = plus(v, load_some(in, a.table + i));
            store_some(laid + i, in, v);
        });
        output(at, laid, dropped, a.keys0, a.y0, a.rate0, mean, mask);
        if (a.y1) output(at, laid, dropped, a.keys1, a.y1, a.rate1, mean, mask);
    }

    void output(int at, const float* laid, float* dropped, const int32_t* keys, float* y, float* rate, float* mean,
                uint32_t* mask) const {
        const float* from = laid;
        if (keys) {
            const int64_t begin = bits(keys, at, mask);
            pieces([&](int64_t i, int, int, int n) {
                const Which in = first_of(n);
                const lanes v = load_some(some(mask, begin + i, n), laid + i);
                store_some(dropped + i, in, times(v, all(a.scale)));
            });
            from = dropped;
        }
        float* to = y + (int64_t)at * d * wide;
        transpose(from, d, T, d, to, wide, wide);
        if (a.normed) normalise(to, wide, d, wide, to, wide, mean, rate + (int64_t)at * wide);
    }

    void backward(int at, float* own) const {
        float *dx = a.dx + at * each, *rows = own, *back = rows + each;
        uint32_t* mask = (uint32_t*)(back + (ptrdiff_t)d * wide);
        std::memset(dx, 0, each * sizeof(float));
        for (int which = 0; which < 2; which++) {
            const float* grad = which ? a.grad1 : a.grad0;
            if (!grad) continue;
            const int64_t of = (int64_t)at * d * wide;
            const float* from = grad + of;
            if (a.normed) {
                normalise_back((which ? a.y1 : a.y0) + of, wide, from, wide,
                               (which ? a.rate1 : a.rate0) + (int64_t)at * wide, d, wide, nullptr, 0, back, wide);
                from = back;
            }
            transpose(from, wide, d, T, rows, d, d);
            const int32_t* keys = which ? a.keys1 : a.keys0;
            const int64_t begin = keys ? bits(keys, at, mask) : 0;
            const lanes factor = all(keys ? a.factor * a.scale : a.factor);
            pieces([&](int64_t i, int, int, int n) {
                const Which in = first_of(n), keep = keys ? some(mask, begin + i, n) : in;
                const lanes v = fma(load_some(keep, rows + i), factor, load_some(in, dx + i));
                store_some(dx + i, in, v);
            });
        }
    }
};

struct FinishCall {
    const float *x, *weight, *shift;  // lanes; (G, d)
    float *y, *stats;                 // rows; (G, B, 2, steps to whole vectors)
    const float* grad;
    float *dx, *g_weight, *g_shift, *sums;  // sums: (G, B, 2, d) scratch
    int64_t groups, clips, steps, width, threads;
};

struct Finish {
    const FinishCall& a;
    int T, d, wide;

    explicit Finish(const FinishCall& call) : a(call), T(call.steps), d(call.width), wide(up(T)) {}

    size_t room() const { return 2 * (size_t)d * wide + 64; }

    void forward(int at, float* own) const {
        const int g = at / a.clips;
        float* stats = a.stats + (int64_t)at * 2 * wide;
        normalise(a.x + (int64_t)at * d * wide, wide, d, wide, own, wide, stats, stats + wide);
        for (int c = 0; c < d; c++) {
            const lanes w = all(a.weight[g * d + c]), s = all(a.shift[g * d + c]);
            for (int t = 0; t < wide; t += L) store(own + c * wide + t, fma(load(own + c * wide + t), w, s));
        }
        transpose(own, wide, d, T, a.y + (int64_t)at * T * d, d, d);
    }

    void backward(int at, float* own) const {
        const int g = at / a.clips;
        const float *stats = a.stats + (int64_t)at * 2 * wide, *x = a.x + (int64_t)at * d * wide;
        float *normed = own, *grad = own + (ptrdiff_t)d * wide, *sums = a.sums + (int64_t)at * 2 * d;
        again(x, wide, d, wide, stats, stats + wide, normed, wide);
        transpose(a.grad + (int64_t)at * T * d, d, T, d, grad, wide, wide);
        for (int c = 0; c < d; c++) {
            const lanes w = all(a.weight[g * d + c]);
            lanes along = zero(), sum = zero();
            for (int t = 0; t < wide; t += L) {
                const lanes v = load(grad + c * wide + t);
                sum = plus(sum, v);
                along = fma(v, load(normed + c * wide + t), along);
                store(grad + c * wide + t, times(v, w));
            }
            sums[c] = sum_of(along);
            sums[d + c] = sum_of(sum);
        }
        normalise_back(normed, wide, grad, wide, stats + wide, d, wide, nullptr, 0, a.dx + (int64_t)at * d * wide, wide);
    }

    void add_up(int g) const {
        for (int c = 0; c < d; c++) {
            float along = 0, sum = 0;
            for (int b = 0; b < a.clips; b++) {
                const float* one = a.sums + ((int64_t)g * a.clips + b) * 2 * d;
                along += one[c];
                sum += one[d + c];
            }
            a.g_weight[g * d + c] = along;
            a.g_shift[g * d + c] = sum;
        }
    }
};
