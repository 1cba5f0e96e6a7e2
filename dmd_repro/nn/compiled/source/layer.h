// One layer of a bank of encoders, all its clips: LayerNorm, attention, LayerNorm, two maps with a ReLU, and both sums,
// with dropout on attention's weights, behind the output map, behind the ReLU and behind the last map. Or its second half
// alone, from the second LayerNorm on, in whose first sum something else stands that was read; or its first half, up to
// the output map and without the sum.
//
// Activations are in lanes, (G, B, channels, steps to whole vectors); a clip goes through the layer while it is in cache.
// The backward pass first finds every clip's gradients, then every weight's: no sum depends on the number of threads.
#pragma once
#include "attention.h"
#include "crew.h"
#include "drops.h"
#include "norm.h"
#include "weights.h"

constexpr int PIECE = 400000;  // floats of the backward pass's room, to stay near a core

struct Layer {
    const LayerCall& a;
    int d, W, H, B;
    Sizes n;
    int wide, wide_k;
    Parameters parameters;
    Drops drops;
    bool self, attends, feeds;

    explicit Layer(const LayerCall& call)
        : a(call), d(call.width), W(call.width / call.heads), H(call.heads), B(call.clips),
          n{(int)call.queries, (int)call.keys_n, (int)call.offset, call.causal != 0},
          wide(n.wide_q()), wide_k(n.wide_k()), parameters(call), drops{call}, self(parameters.self),
          attends(parameters.attends), feeds(parameters.feeds) {}

    Masks masks(int g) const {
        if (!a.keys) return {nullptr, nullptr, -32768, 1.0f, n.queries, 1, 1, false};
        const int e = g % a.encoders, s = g / a.encoders;
        return {a.keys + s * a.draws_s + e * a.draws_e, a.noise, a.least[e], a.scales[e],
                (int)a.rows, (int)a.step, (int)a.pieces, a.least[e] > -32768};
    }

    // What is kept of one clip, one behind the other.
    struct Clip {
        float *stats, *q, *k, *v, *attended, *inverse, *shifts, *middle, *hidden, *end;
    };
    Clip clip(float* at) const {
        Clip c;
        const ptrdiff_t each = (ptrdiff_t)d * wide, of_keys = (ptrdiff_t)d * wide_k;
        c.stats = at, at += 4 * wide;
        if (attends) {
            c.q = at, at += each;
            c.k = at, at += of_keys;
            c.v = at, at += of_keys;
            c.attended = at, at += each;
            c.inverse = at, at += (ptrdiff_t)H * wide;
            c.shifts = at, at += (ptrdiff_t)H * wide;
        }
        c.middle = at, at += feeds ? each : 0;
        c.hidden = at, at += feeds ? 4 * each : 0;
        c.end = at;
        return c;
    }
    size_t clip_room() const { return clip(nullptr).end - (float*)nullptr; }
    Clip kept(int64_t at) const { return clip(a.kept + at * clip_room()); }

    template <class F>
    static void tiles(int steps, F f) {
        for (int t = 0; t < steps; t += TILE) f(t, steps - t < TILE ? steps - t : TILE);
    }

    static Besides biased(const float* bias) {
        Besides s;
        s.bias = bias;
        return s;
    }

    // The first half of a clip's layer, up to attention's outputs.
    void attend_clip(int g, int b, const Weights& w, const Clip& c, float* tile, float* k_rows, float* rest) const {
        const int64_t at = (int64_t)g * B + b;
        const float* x = a.x + at * d * wide;
        tiles(wide, [&](int t, int steps) {
            normalise(x + t, wide, d, steps, tile, TILE, c.stats + t, c.stats + wide + t);
            apply(w.q, tile, TILE, c.q + t, wide, steps, biased(w.in_b));
            if (!self) return;
            apply(w.k, tile, TILE, c.k + t, wide_k, steps, biased(w.in_b + d));
            apply(w.v, tile, TILE, c.v + t, wide_k, steps, biased(w.in_b + 2 * d));
        });
        if (!self)
            tiles(wide_k, [&](int t, int steps) {
                apply(w.k, a.key + at * d * wide_k + t, wide_k, c.k + t, wide_k, steps, biased(w.in_b + d));
                apply(w.v, a.value + at * d * wide_k + t, wide_k, c.v + t, wide_k, steps, biased(w.in_b + 2 * d));
            });
        float* v_rows = k_rows + (ptrdiff_t)d * wide_k;
        transpose(c.k, wide_k, d, n.keys, k_rows, d, d);
        transpose(c.v, wide_k, d, n.keys, v_rows, d, d);
        const Masks m = masks(g);
        for (int h = 0; h < H; h++)
            ATTEND[W](c.q + h * W * wide, k_rows + h * W, d, v_rows + h * W, d, a.bias ? a.bias + at * n.keys : nullptr,
                      n, m, b * H + h, rest, c.attended + h * W * wide, c.inverse + h * wide, c.shifts + h * wide);
    }

    void forward_clip(int g, int b, const Weights& w, float* own) const {
        const int64_t at = (int64_t)g * B + b;
        const float *x = a.x + at * d * wide, *read = a.read ? a.read + at * d * wide : nullptr;
        float *tile = own, *k_rows = tile + (ptrdiff_t)d * TILE;
        uint32_t* words = (uint32_t*)(k_rows + 2 * (ptrdiff_t)d * wide_k);
        float* rest = (float*)words + drops.keep_room();
        const Clip c = a.kept ? kept(at) : clip(rest + attend_room(W, n));
        const Drop out = drops.drop(g, OUT), relu = drops.drop(g, RELU), last = drops.drop(g, LAST);
        float* y = a.y + at * d * wide;
        if (attends) attend_clip(g, b, w, c, tile, k_rows, rest);
        if (!feeds) return tiles(wide, [&](int t, int steps) {
            apply(w.out, c.attended + t, wide, y + t, wide, steps, biased(a.out_b + (ptrdiff_t)g * d));
        });
        tiles(wide, [&](int t, int steps) {
            const Keep of_out = drops.keep(out, g, b, d, t, steps, words);
            if (attends) {
                Besides sum = biased(a.out_b + (ptrdiff_t)g * d);
                sum.add = x + t, sum.add_step = wide, sum.keep = of_out;
                apply(w.out, c.attended + t, wide, c.middle + t, wide, steps, sum);
            } else plus(x + t, read ? read + t : nullptr, wide, d, steps, of_out, c.middle + t);
            normalise(c.middle + t, wide, d, steps, tile, TILE, c.stats + 2 * wide + t, c.stats + 3 * wide + t);
            Besides inner = biased(w.fc1_b);
            inner.relu = true;
            inner.keep = drops.keep(relu, g, b, 4 * d, t, steps, words);
            apply(w.fc1, tile, TILE, c.hidden + t, wide, steps, inner);
            Besides outer = biased(a.fc2_b + (ptrdiff_t)g * d);
            outer.add = c.middle + t, outer.add_step = wide;
            outer.keep = drops.keep(last, g, b, d, t, steps, words);
            apply(w.fc2, c.hidden + t, wide, y + t, wide, steps, outer);
        });
    }

    size_t forward_room() const {
        return (size_t)d * TILE + 2 * (size_t)d * wide_k + drops.keep_room() + attend_room(W, n) + clip_room() + 64;
    }

    // Clips whose gradients are found together, so that they are in cache when the weights' are made of them.
    int at_once() const {
        const int n = PIECE / (10 * d * (wide > wide_k ? wide : wide_k));
        return n < 1 ? 1 : n > B ? B : n;
    }

    // Floats of the backward pass's room, by what lies in it: (clips at once, channels, steps) each.
    size_t of_q() const { return (size_t)at_once() * d * wide; }
    size_t of_k() const { return (size_t)at_once() * d * wide_k; }
    size_t layer_room() const {
        return (8 + drops.on(OUT) + drops.on(LAST)) * of_q() + 2 * of_k() + (self ? of_q() : 0);
    }
    struct Room2 {
        float *dq, *dk, *dv, *dmiddle, *dhidden, *n1, *n2;
        float *dout, *dlast;  // of what the output map and the last one give; null: without dropout of their own
        ptrdiff_t dq_clip, dk_clip;
    };
    Room2 rooms() const {
        Room2 r;
        r.dhidden = a.room, r.dmiddle = r.dhidden + 4 * of_q(), r.n1 = r.dmiddle + of_q(), r.n2 = r.n1 + of_q();
        float* at = r.n2 + of_q();
        r.dout = drops.on(OUT) ? at : nullptr, at += drops.on(OUT) ? of_q() : 0;
        r.dlast = drops.on(LAST) ? at : nullptr, at += drops.on(LAST) ? of_q() : 0;
        r.dq = at;
        if (self) {  // one behind the other in a clip, so that one map takes all three
            r.dk = r.dq + (ptrdiff_t)d * wide, r.dv = r.dk + (ptrdiff_t)d * wide;
            r.dq_clip = r.dk_clip = (ptrdiff_t)3 * d * wide;
        } else {
            r.dk = r.dq + of_q(), r.dv = r.dk + of_k();
            r.dq_clip = (ptrdiff_t)d * wide, r.dk_clip = (ptrdiff_t)d * wide_k;
        }
        return r;
    }

    void backward_clip(int g, int b, int place, const Weights& w, const Room2& r, float* own) const {
        const int64_t at = (int64_t)g * B + b;
        const ptrdiff_t each = (ptrdiff_t)d * wide;
        const float *x = a.x + at * each, *dy = a.grad + at * each;
        const Clip c = kept(at);
        float *dhidden = r.dhidden + place * 4 * each, *dmiddle = r.dmiddle + place * each;
        float *n1 = r.n1 + place * each, *n2 = r.n2 + place * each;
        float *dq = r.dq + place * r.dq_clip, *dk = r.dk + place * r.dk_clip, *dv = r.dv + place * r.dk_clip;
        float *dout = r.dout ? r.dout + place * each : nullptr, *dlast = r.dlast ? r.dlast + place * each : nullptr;
        float *dx = a.dx + at * each, *tile = own, *slope = tile + (ptrdiff_t)d * TILE;
        float* rest = slope + each + drops.keep_room();
        if (!attends) dmiddle = dx, dout = a.dread ? a.dread + at * each : nullptr;
        uint32_t* words = (uint32_t*)(slope + each);
        const Drop out = drops.drop(g, OUT), relu = drops.drop(g, RELU), last = drops.drop(g, LAST);
        Ahead coming(c.stats, c.hidden - c.stats);
        if (!feeds) tiles(wide, [&](int t, int steps) {
            apply(w.out_t, dy + t, wide, slope + t, wide, steps, Besides());
        });
        else tiles(wide, [&](int t, int steps) {
            Besides gate;
            gate.gate = c.hidden + t, gate.gate_step = wide;
            gate.gate_scale = relu.scale;  // a kept and scaled activation is above 0 where both let it through
            gate.ahead = &coming;
            if (dlast) times_kept(dy + t, wide, d, steps, drops.keep(last, g, b, d, t, steps, words), dlast + t);
            apply(w.fc2_t, (dlast ? dlast : dy) + t, wide, dhidden + t, wide, steps, gate);
            apply(w.fc1_t, dhidden + t, wide, tile, TILE, steps, Besides());
            again(c.middle + t, wide, d, steps, c.stats + 2 * wide + t, c.stats + 3 * wide + t, n2 + t, wide);
            normalise_back(n2 + t, wide, tile, TILE, c.stats + 3 * wide + t, d, steps, dy + t, wide, dmiddle + t, wide);
            if (dout) times_kept(dmiddle + t, wide, d, steps, drops.keep(out, g, b, d, t, steps, words), dout + t);
            if (attends) apply(w.out_t, (dout ? dout : dmiddle) + t, wide, slope + t, wide, steps, Besides());
        });
        if (!attends) return;
        const Masks m = masks(g);
        for (int h = 0; h < H; h++) {
            const ptrdiff_t at_q = (ptrdiff_t)h * W * wide, at_k = (ptrdiff_t)h * W * wide_k;
            ATTEND_BACK[W](c.q + at_q, c.k + at_k, c.v + at_k, a.bias ? a.bias + at * n.keys : nullptr, n, m, b * H + h,
                           c.attended + at_q, slope + at_q, c.inverse + h * wide, c.shifts + h * wide, rest, dq + at_q,
                           dk + at_k, dv + at_k);
        }
        tiles(wide, [&](int t, int steps) {
            apply(self ? w.in_t : w.q_t, dq + t, wide, tile, TILE, steps, Besides());
            again(x + t, wide, d, steps, c.stats + t, c.stats + wide + t, n1 + t, wide);
            normalise_back(n1 + t, wide, tile, TILE, c.stats + wide + t, d, steps, feeds ? dmiddle + t : nullptr,
                           wide, dx + t, wide);
        });
        if (!self)
            tiles(wide_k, [&](int t, int steps) {
                apply(w.k_t, dk + t, wide_k, a.dkey + at * d * wide_k + t, wide_k, steps, Besides());
                apply(w.v_t, dv + t, wide_k, a.dvalue + at * d * wide_k + t, wide_k, steps, Besides());
            });
    }

    size_t backward_room() const {
        return (size_t)d * TILE + (size_t)d * wide + drops.keep_room() + back_room(W, n) + 64;
    }

    // Add some clips, from b on, to rows n0 to n1 of the gradients of the weights as they were packed: with the
    // LayerNorms' scales in them.
    void weight_rows(int g, int b, int clips, int which, int n0, int n1, const Room2& r) const {
        const ptrdiff_t each = (ptrdiff_t)d * wide;
        auto given = [&](const float* at, ptrdiff_t clip, int w) {
            return Rows{at + ((ptrdiff_t)g * B + b) * clip, clip, w};
        };
        const Clip first = kept((int64_t)g * B + b);
        const ptrdiff_t step = clip_room();
        const Rows n1_{r.n1, each, wide};
        const Rows k_in = self ? n1_ : given(a.key, (ptrdiff_t)d * wide_k, wide_k);
        const Rows v_in = self ? n1_ : given(a.value, (ptrdiff_t)d * wide_k, wide_k);
        float *in = a.g_in_w + (ptrdiff_t)g * 3 * d * d, *in_b = a.g_in_b + (ptrdiff_t)g * 3 * d;
        auto both = [&](const Rows& p, const Rows& q, float* w, float* bias) {
            outer(p, n0, n1, q, d, clips, w, d, 1);
            row_sums(p, n0, n1, clips, bias);
        };
        if (which == 0) both(Rows{r.dq, r.dq_clip, wide}, n1_, in, in_b);
        if (which == 1) both(Rows{r.dk, r.dk_clip, wide_k}, k_in, in + d * d, in_b + d);
        if (which == 2) both(Rows{r.dv, r.dk_clip, wide_k}, v_in, in + 2 * d * d, in_b + 2 * d);
        if (which == 3)
            both(feeds ? Rows{r.dout ? r.dout : r.dmiddle, each, wide} : given(a.grad, each, wide),
                 Rows{first.attended, step, wide}, a.g_out_w + (ptrdiff_t)g * d * d, a.g_out_b + (ptrdiff_t)g * d);
        if (which == 4)
            both(Rows{r.dhidden, 4 * each, wide}, Rows{r.n2, each, wide}, a.g_fc1_w + (ptrdiff_t)g * 4 * d * d,
                 a.g_fc1_b + (ptrdiff_t)g * 4 * d);
        if (which == 5) {  // the wide side walks outside, the narrow one stays in cache; rows are columns of the weight
            const Rows dlast = r.dlast ? Rows{r.dlast, each, wide} : given(a.grad, each, wide);
            outer(Rows{first.hidden, step, wide}, n0, n1, dlast, d, clips, a.g_fc2_w + (ptrdiff_t)g * 4 * d * d, 1,
                  4 * d);
            if (n0 == 0) row_sums(dlast, 0, d, clips, a.g_fc2_b + (ptrdiff_t)g * d);
        }
    }

    void forward() const {
        Room packed(parameters.room() * a.groups);
        std::vector<Weights> w(a.groups);
        Crew::run(a.threads, [&](Crew& crew) {
            Room own(forward_room());
            crew.each(a.groups, [&](int g) { w[g] = parameters.weights(g, false, packed.at + g * parameters.room()); });
            crew.each(a.groups * B, [&](int at) { forward_clip(at / B, at % B, w[at / B], own.at); });
        });
    }

    // A group after the other: what the weights' gradients are made of is still in cache when they are.
    void backward() const {
        Room packed(parameters.room() * a.groups);
        std::vector<Weights> w(a.groups);
        struct Task {
            int which, first, last;
        };
        std::vector<Task> tasks;
        const int rows[6] = {d, d, d, d, 4 * d, 4 * d}, some = 2 * SIDE;
        for (int which = attends ? 0 : 4; which < (feeds ? 6 : 4); which++)
            for (int i = 0; i < rows[which]; i += some)
                tasks.push_back({which, i, i + some < rows[which] ? i + some : rows[which]});
        const Room2 r = rooms();
        const int some_clips = at_once();
        Crew::run(a.threads, [&](Crew& crew) {
            Room own(backward_room());
            crew.each(a.groups, [&](int g) {
                w[g] = parameters.weights(g, true, packed.at + g * parameters.room());
                parameters.clear(g);
            });
            for (int g = 0; g < a.groups; g++)
                for (int b = 0; b < B; b += some_clips) {
                    const int clips = b + some_clips < B ? some_clips : B - b;
                    crew.each(clips, [&](int i) { backward_clip(g, b + i, i, w[g], r, own.at); });
                    crew.each(tasks.size(), [&](int i) {
                        weight_rows(g, b, clips, tasks[i].which, tasks[i].first, tasks[i].last, r);
                    });
                }
            crew.each(a.groups, [&](int g) { parameters.unfold(g); });
        });
    }
};
