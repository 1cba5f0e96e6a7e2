// What Python calls, each with one struct of plain numbers and pointers (`compiled/call.py` has the same fields).
#include <cmath>

#include "attention.h"
#include "crew.h"
#include "ends.h"
#include "layer.h"

struct AttentionCall {
    const float *q, *k, *v, *bias;  // (G, B, T, d) with steps between groups, clips and rows; bias (G, B, keys) or null
    const int32_t *keys, *noise, *least;  // null without dropout
    const float* scales;
    float *out, *inverse, *shifts;  // (G, B, T, d); (G, B, heads, T to whole vectors)
    const float* grad;
    float *dq, *dk, *dv;
    int64_t q_g, q_b, q_t, k_g, k_b, k_t, v_g, v_b, v_t;
    int64_t groups, clips, heads, width, queries, keys_n, causal, offset;
    int64_t encoders, draws_s, draws_e, rows, step, pieces, threads;
};

static Masks masks_of(const AttentionCall& a, int g) {
    if (!a.keys) return {nullptr, nullptr, -32768, 1.0f, (int)a.queries, 1, 1, false};
    const int e = g % a.encoders, s = g / a.encoders;
    return {a.keys + s * a.draws_s + e * a.draws_e, a.noise, a.least[e], a.scales[e],
            (int)a.rows, (int)a.step, (int)a.pieces, a.least[e] > -32768};
}

extern "C" int kernels_attend(const AttentionCall* call) {
    const AttentionCall& a = *call;
    const int W = a.width, H = a.heads, d = W * H;
    const Sizes n{(int)a.queries, (int)a.keys_n, (int)a.offset, a.causal != 0};
    const int wide = n.wide_q();
    Crew::run(a.threads, [&](Crew& crew) {
        Room room((size_t)2 * d * wide + attend_room(W, n));
        float *q = room.at, *out = q + d * wide, *rest = out + d * wide;
        crew.each(a.groups * a.clips, [&](int at) {
            const int g = at / a.clips, b = at % a.clips;
            const Masks m = masks_of(a, g);
            transpose(a.q + g * a.q_g + b * a.q_b, a.q_t, n.queries, d, q, wide, wide);
            for (int h = 0; h < H; h++) {
                const int64_t row = ((int64_t)at * H + h) * wide;
                ATTEND[W](q + h * W * wide, a.k + g * a.k_g + b * a.k_b + h * W, a.k_t,
                          a.v + g * a.v_g + b * a.v_b + h * W, a.v_t, a.bias ? a.bias + (int64_t)at * n.keys : nullptr,
                          n, m, b * H + h, rest, out + h * W * wide, a.inverse + row, a.shifts + row);
            }
            transpose(out, wide, d, n.queries, a.out + (int64_t)at * n.queries * d, d, d);
        });
    });
    return 0;
}

extern "C" int kernels_attend_back(const AttentionCall* call) {
    const AttentionCall& a = *call;
    const int W = a.width, H = a.heads, d = W * H;
    const Sizes n{(int)a.queries, (int)a.keys_n, (int)a.offset, a.causal != 0};
    const int wide = n.wide_q(), wide_k = n.wide_k();
    Crew::run(a.threads, [&](Crew& crew) {
        Room room((size_t)4 * d * wide + 4 * d * wide_k + back_room(W, n));
        float *q = room.at, *out = q + d * wide, *grad = out + d * wide, *dq = grad + d * wide;
        float *k = dq + d * wide, *v = k + d * wide_k, *dk = v + d * wide_k, *dv = dk + d * wide_k;
        float* rest = dv + d * wide_k;
        crew.each(a.groups * a.clips, [&](int at) {
            const int g = at / a.clips, b = at % a.clips;
            const Masks m = masks_of(a, g);
            const int64_t own = (int64_t)at * n.queries * d, his = (int64_t)at * n.keys * d;
            transpose(a.q + g * a.q_g + b * a.q_b, a.q_t, n.queries, d, q, wide, wide);
            transpose(a.k + g * a.k_g + b * a.k_b, a.k_t, n.keys, d, k, wide_k, wide_k);
            transpose(a.v + g * a.v_g + b * a.v_b, a.v_t, n.keys, d, v, wide_k, wide_k);
            transpose(a.out + own, d, n.queries, d, out, wide, wide);
            transpose(a.grad + own, d, n.queries, d, grad, wide, wide);
            for (int h = 0; h < H; h++) {
                const int64_t row = ((int64_t)at * H + h) * wide;
                const int of_q = h * W * wide, of_k = h * W * wide_k;
                ATTEND_BACK[W](q + of_q, k + of_k, v + of_k, a.bias ? a.bias + (int64_t)at * n.keys : nullptr, n, m,
                               b * H + h, out + of_q, grad + of_q, a.inverse + row, a.shifts + row, rest, dq + of_q,
                               dk + of_k, dv + of_k);
            }
            transpose(dq, wide, d, n.queries, a.dq + own, d, d);
            transpose(dk, wide_k, d, n.keys, a.dk + his, d, d);
            transpose(dv, wide_k, d, n.keys, a.dv + his, d, d);
        });
    });
    return 0;
}

extern "C" int kernels_layer(const LayerCall* call) {
    Layer(*call).forward();
    return 0;
}

extern "C" int kernels_layer_back(const LayerCall* call) {
    Layer(*call).backward();
    return 0;
}

// How many floats `room` of a layer's backward pass holds.
extern "C" int64_t kernels_layer_room(const LayerCall* call) { return Layer(*call).layer_room(); }

// How many floats are kept of a clip.
extern "C" int64_t kernels_layer_kept(const LayerCall* call) { return Layer(*call).clip_room(); }

struct TurnCall {
    const float* from;  // (n, rows, columns), or in lanes (n, columns, rows to whole vectors)
    float* to;          // the other of the two
    int64_t n, rows, columns, to_lanes, threads;
};

extern "C" int kernels_turn(const TurnCall* call) {
    const TurnCall& a = *call;
    const int64_t wide = up(a.rows), plain = a.rows * a.columns, laned = wide * a.columns;
    Crew::run(a.threads, [&](Crew& crew) {
        crew.each(a.n, [&](int i) {
            if (a.to_lanes) transpose(a.from + i * plain, a.columns, a.rows, a.columns, a.to + i * laned, wide, wide);
            else transpose(a.from + i * laned, wide, a.columns, a.rows, a.to + i * plain, a.columns, a.columns);
        });
    });
    return 0;
}

// Do one pass of a part (`Begin`, `Finish`) over every clip of a call.
template <class Part, class Call>
static int over_clips(const Call* call, void (Part::*pass)(int, float*) const) {
    const Part part(*call);
    Crew::run(call->threads, [&](Crew& crew) {
        Room own(part.room());
        crew.each(call->groups * call->clips, [&](int at) { (part.*pass)(at, own.at); });
    });
    return 0;
}

extern "C" int kernels_begin(const BeginCall* call) { return over_clips(call, &Begin::forward); }

extern "C" int kernels_begin_back(const BeginCall* call) { return over_clips(call, &Begin::backward); }

extern "C" int kernels_finish(const FinishCall* call) { return over_clips(call, &Finish::forward); }

extern "C" int kernels_finish_back(const FinishCall* call) {
    const Finish finish(*call);
    Crew::run(call->threads, [&](Crew& crew) {
        Room own(finish.room());
        crew.each(call->groups * call->clips, [&](int at) { finish.backward(at, own.at); });
        crew.each(call->groups, [&](int g) { finish.add_up(g); });
    });
    return 0;
}

// Let the threads be those of torch's OpenMP: the addresses of GOMP_parallel and omp_get_num_threads.
extern "C" void kernels_share_threads(void* start, void* count) {
    team.start = (void (*)(void (*)(void*), void*, unsigned, unsigned))start;
    team.count = (int (*)())count;
}

extern "C" int64_t kernels_size(int which) {
    const int64_t sizes[] = {sizeof(AttentionCall), sizeof(LayerCall), sizeof(TurnCall), sizeof(BeginCall),
                             sizeof(FinishCall)};
    return sizes[which];
}
