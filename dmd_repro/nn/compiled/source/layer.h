// One layer of a bank of encoders, all its clips: LayerNorm, attention, LayerNorm, two maps with a ReLU, and both sums,
// with dropout on attention's weights, behind the output map, behind the ReLU and behind the last map.
//
// Activations are in lanes, (G, B, channels, steps to whole vectors); a clip goes through the layer while it is in cache.
// The backward pass first finds every clip's gradients, then every weight's: no sum depends on the number of threads.
#pragma once
#include "attention.h"
#include "crew.h"
#include "maps.h"
#include "norm.h"

constexpr int PIECE = 400000;  // floats of the backward pass's room, to stay near a core

struct LayerCall {
    const float *x, *key, *value, *bias;  // key and value are null in self-attention
    const int32_t *keys, *noise, *least;
    const float* scales;
    const int32_t* drawn;  // keys of the draws behind the maps, place after place (`drop`); null: no dropout there
    const float *norm1_w, *norm1_b, *in_w, *in_b, *out_w, *out_b, *norm2_w, *norm2_b, *fc1_w, *fc1_b, *fc2_w, *fc2_b;
    float *kept, *y;  // what the backward pass reads of each clip, `Clip`; null: nothing is kept
    const float* grad;
    float *dx, *dkey, *dvalue;
    float *g_norm1_w, *g_norm1_b, *g_in_w, *g_in_b, *g_out_w, *g_out_b, *g_norm2_w, *g_norm2_b, *g_fc1_w, *g_fc1_b,
        *g_fc2_w, *g_fc2_b;
    float* room;  // of the backward pass: `kernels_layer_room` floats
    double scale_out, scale_relu, scale_last;  // of what dropout keeps behind the maps
    int64_t groups, clips, drawn_s, least_out, least_relu, least_last;
    int64_t heads, width, queries, keys_n, causal, offset;
    int64_t encoders, draws_s, draws_e, rows, step, pieces, threads;
};

struct Layer {
    const LayerCall& a;
    int d, W, H, B;
    Sizes n;
    int wide, wide_k;
    bool self;

    explicit Layer(const LayerCall& call)
        : a(call), d(call.width), W(call.width / call.heads), H(call.heads), B(call.clips),
          n{(int)call.queries, (int)call.keys_n, (int)call.offset, call.causal != 0},
          wide(n.wide_q()), wide_k(n.wide_k()), self(call.key == nullptr) {}

    Masks masks(int g) const {
        if (!a.keys) return {nullptr, nullptr, -32768, 1.0f, n.queries, 1, 1, false};
        const int e = g % a.encoders, s = g / a.encoders;
        return {a.keys + s * a.draws_s + e * a.draws_e, a.noise, a.least[e], a.scales[e],
                (int)a.rows, (int)a.step, (int)a.pieces, a.least[e] > -32768};
    }

    // Dropout behind a map: keys of its draws, the least lane that is kept, the scale of what is.
    struct Drop {
        const int32_t* keys;
        int least;
        float scale;
    };
    enum Place { OUT, RELU, LAST };
    bool drops(Place place) const {
        const int64_t least[] = {a.least_out, a.least_relu, a.least_last};
        return a.drawn && least[place] > -32768;
    }
    Drop drop(int g, Place place) const {
        if (!drops(place)) return {nullptr, -32768, 1.0f};
        const int64_t each = a.encoders * B * (int64_t)n.queries * d, draws = (each + DRAW - 1) / DRAW;
        int64_t before = place > OUT && drops(OUT) ? draws : 0;
        if (place > RELU && drops(RELU)) before += (4 * each + DRAW - 1) / DRAW;
        const int64_t least[] = {a.least_out, a.least_relu, a.least_last};
        const double scale[] = {a.scale_out, a.scale_relu, a.scale_last};
        return {a.drawn + g / a.encoders * a.drawn_s + 2 * before, (int)least[place], (float)scale[place]};
    }

    // Room of `keep`: the words of a tile's 4d channels, and the bits they are cut from.
    size_t words_room() const { return (size_t)TILE * ((4 * d + 31) / 32); }
    size_t keep_room() const { return words_room() + up(TILE * 4 * d / 32 + 4); }

    // What is kept of `width` channels at some steps of a clip, from t on.
    Keep keep(const Drop& drop, int g, int b, int width, int t, int steps, uint32_t* room) const {
        if (!drop.keys) return {};
        uint32_t* bits = room + words_room();
        const int rows = n.queries - t < steps ? n.queries - t : steps;
        const int64_t first = ((g % a.encoders * B + b) * n.queries + t) * width;
        keep_run(a.noise, drop.keys, drop.least, first, (int64_t)rows * width, bits);
        spread(bits, first % 32, width, rows, room, TILE);
        return {room, TILE, drop.scale};
    }

    // What rows of the first map are scaled by: those of q, after their bias.
    float row_scale(int row) const { return row < d ? 1.0f / std::sqrt((float)W) : 1.0f; }

    // Weights of a group with the LayerNorms' scales in them, and biases with their shifts.
    struct Weights {
        Packed in, out, fc1, fc2;           // forward
        Packed in_t, out_t, fc1_t, fc2_t;   // turned, for gradients; in_t is (d, 3d), or three (d, d)
        Packed q_t, k_t, v_t, q, k, v;
        float *in_b, *fc1_b;
    };
    size_t weights_room() const { return (size_t)24 * d * d + 8 * d + 64; }

    Weights weights(int g, bool back, float* room) const {
        Weights w;
        const float *in = a.in_w + (ptrdiff_t)g * 3 * d * d, *fc1 = a.fc1_w + (ptrdiff_t)g * 4 * d * d;
        const float *out = a.out_w + (ptrdiff_t)g * d * d, *fc2 = a.fc2_w + (ptrdiff_t)g * 4 * d * d;
        const float *scale1 = a.norm1_w + (ptrdiff_t)g * d, *scale2 = a.norm2_w + (ptrdiff_t)g * d;
        const float *shift1 = a.norm1_b + (ptrdiff_t)g * d, *shift2 = a.norm2_b + (ptrdiff_t)g * d;
        float* scales = room;
        for (int i = 0; i < 3 * d; i++) scales[i] = row_scale(i);
        float* at = scales + 3 * d;
        auto packed = [&](const float* from, ptrdiff_t n_step, ptrdiff_t k_step, int rows, int columns, const float* r,
                          const float* c) {
            const Packed p = pack(from, n_step, k_step, rows, columns, r, c, at);
            at += (ptrdiff_t)rows * columns;
            return p;
        };
        if (back) {
            // turned, its columns are the map's rows, and its rows the norm's channels
            if (self) w.in_t = packed(in, 1, d, d, 3 * d, scale1, scales);
            else {
                w.q_t = packed(in, 1, d, d, d, scale1, scales);
                w.k_t = packed(in + d * d, 1, d, d, d, scale1, nullptr);
                w.v_t = packed(in + 2 * d * d, 1, d, d, d, scale1, nullptr);
            }
            w.out_t = packed(out, 1, d, d, d, nullptr, nullptr);
            w.fc1_t = packed(fc1, 1, d, d, 4 * d, scale2, nullptr);
            w.fc2_t = packed(fc2, 1, 4 * d, 4 * d, d, nullptr, nullptr);
            return w;
        }
        w.in_b = at, at += 3 * d;
        w.fc1_b = at, at += 4 * d;
        folded_bias(in, a.in_b + (ptrdiff_t)g * 3 * d, shift1, 3 * d, scales, w.in_b);
        folded_bias(fc1, a.fc1_b + (ptrdiff_t)g * 4 * d, shift2, 4 * d, nullptr, w.fc1_b);
        w.q = packed(in, d, 1, d, d, scales, scale1);
        w.k = packed(in + d * d, d, 1, d, d, nullptr, scale1);
        w.v = packed(in + 2 * d * d, d, 1, d, d, nullptr, scale1);
        w.out = packed(out, d, 1, d, d, nullptr, nullptr);
        w.fc1 = packed(fc1, d, 1, 4 * d, d, nullptr, scale2);
        w.fc2 = packed(fc2, 4 * d, 1, d, 4 * d, nullptr, nullptr);
        return w;
    }

    void folded_bias(const float* weight, const float* bias, const float* shift, int rows, const float* scales,
                     float* to) const {
        for (int i = 0; i < rows; i++) {
            float sum = bias[i];
            for (int c = 0; c < d; c++) sum += weight[(ptrdiff_t)i * d + c] * shift[c];
            to[i] = scales ? sum * scales[i] : sum;
        }
    }

    // What is kept of one clip, one behind the other.
    struct Clip {
        float *stats, *q, *k, *v, *attended, *inverse, *shifts, *middle, *hidden, *end;
    };
    Clip clip(float* at) const {
        Clip c;
        const ptrdiff_t each = (ptrdiff_t)d * wide, of_keys = (ptrdiff_t)d * wide_k;
        c.stats = at, at += 4 * wide;
        c.q = at, at += each;
        c.k = at, at += of_keys;
        c.v = at, at += of_keys;
        c.attended = at, at += each;
        c.inverse = at, at += (ptrdiff_t)H * wide;
        c.shifts = at, at += (ptrdiff_t)H * wide;
        c.middle = at, at += each;
        c.hidden = at, at += 4 * each;
        c.end = at;
        return c;
    }
    size_t clip_room() const { return clip(nullptr).end - (float*)nullptr; }
    Clip kept(int64_t at) const { return clip(a.kept + at * clip_room()); }

    template <class F>
    static void tiles(int steps, F f) {
        for (int t = 0; t < steps; t += TILE) f(t, steps - t < TILE ? steps - t : TILE);
    }

    void forward_clip(int g, int b, const Weights& w, float* own) const {
        const int64_t at = (int64_t)g * B + b;
        const float* x = a.x + at * d * wide;
        const float *out_b = a.out_b + (ptrdiff_t)g * d, *fc2_b = a.fc2_b + (ptrdiff_t)g * d;
        float *tile = own, *k_rows = tile + (ptrdiff_t)d * TILE, *v_rows = k_rows + (ptrdiff_t)d * wide_k;
        uint32_t* words = (uint32_t*)(v_rows + (ptrdiff_t)d * wide_k);
        float* rest = (float*)words + keep_room();
        const Clip c = a.kept ? kept(at) : clip(rest + attend_room(W, n));
        const Drop behind_out = drop(g, OUT), behind_relu = drop(g, RELU), behind_last = drop(g, LAST);
        float* y = a.y + at * d * wide;
        auto biased = [](const float* bias) {
            Besides s;
            s.bias = bias;
            return s;
        };
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
        transpose(c.k, wide_k, d, n.keys, k_rows, d, d);
        transpose(c.v, wide_k, d, n.keys, v_rows, d, d);
        const Masks m = masks(g);
        for (int h = 0; h < H; h++)
            ATTEND[W](c.q + h * W * wide, k_rows + h * W, d, v_rows + h * W, d,
                      a.bias ? a.bias + at * n.keys : nullptr, n, m, b * H + h, rest, c.attended + h * W * wide,
                      c.inverse + h * wide, c.shifts + h * wide);
        tiles(wide, [&](int t, int steps) {
            Besides sum = biased(out_b);
            sum.add = x + t, sum.add_step = wide;
            sum.keep = keep(behind_out, g, b, d, t, steps, words);
            apply(w.out, c.attended + t, wide, c.middle + t, wide, steps, sum);
            normalise(c.middle + t, wide, d, steps, tile, TILE, c.stats + 2 * wide + t, c.stats + 3 * wide + t);
            Besides inner = biased(w.fc1_b);
            inner.relu = true;
            inner.keep = keep(behind_relu, g, b, 4 * d, t, steps, words);
            apply(w.fc1, tile, TILE, c.hidden + t, wide, steps, inner);
            Besides last = biased(fc2_b);
            last.add = c.middle + t, last.add_step = wide;
            last.keep = keep(behind_last, g, b, d, t, steps, words);
            apply(w.fc2, c.hidden + t, wide, y + t, wide, steps, last);
        });
    }

    size_t forward_room() const {
        return (size_t)d * TILE + 2 * (size_t)d * wide_k + keep_room() + attend_room(W, n) + clip_room() + 64;
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
        return (8 + drops(OUT) + drops(LAST)) * of_q() + 2 * of_k() + (self ? of_q() : 0);
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
        r.dout = drops(OUT) ? at : nullptr, at += drops(OUT) ? of_q() : 0;
        r.dlast = drops(LAST) ? at : nullptr, at += drops(LAST) ? of_q() : 0;
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

    // Some steps of (width, steps) times what dropout leaves of them.
    void times_kept(const float* x, int width, int steps, const Keep& keep, float* y) const {
        for (int c = 0; c < width; c++)
            for (int t = 0; t < steps; t += L)
                store(y + (ptrdiff_t)c * wide + t, times(load(x + (ptrdiff_t)c * wide + t), keep.factor(c, t)));
    }

    void backward_clip(int g, int b, int place, const Weights& w, const Room2& r, float* own) const {
        const int64_t at = (int64_t)g * B + b;
        const ptrdiff_t each = (ptrdiff_t)d * wide;
        const float *x = a.x + at * each, *dy = a.grad + at * each;
        const Clip c = kept(at);
        float *dhidden = r.dhidden + place * 4 * each, *dmiddle = r.dmiddle + place * each;
        float *n1 = r.n1 + place * each, *n2 = r.n2 + place * each;
        float *dq = r.dq + place * r.dq_clip, *dk = r.dk + place * r.dk_clip, *dv = r.dv + place * r.dk_clip;
        float *dout = r.dout ? r.dout + place * each : dmiddle, *dlast = r.dlast ? r.dlast + place * each : nullptr;
        float *tile = own, *slope = tile + (ptrdiff_t)d * TILE, *rest = slope + each + keep_room();
        uint32_t* words = (uint32_t*)(slope + each);
        const Drop behind_out = drop(g, OUT), behind_relu = drop(g, RELU), behind_last = drop(g, LAST);
        Ahead coming(c.stats, c.hidden - c.stats);
        tiles(wide, [&](int t, int steps) {
            Besides gate;
            gate.gate = c.hidden + t, gate.gate_step = wide;
            gate.gate_scale = behind_relu.scale;  // a kept and scaled activation is above 0 where both let it through
            gate.ahead = &coming;
            if (dlast) times_kept(dy + t, d, steps, keep(behind_last, g, b, d, t, steps, words), dlast + t);
            apply(w.fc2_t, (dlast ? dlast : dy) + t, wide, dhidden + t, wide, steps, gate);
            apply(w.fc1_t, dhidden + t, wide, tile, TILE, steps, Besides());
            again(c.middle + t, wide, d, steps, c.stats + 2 * wide + t, c.stats + 3 * wide + t, n2 + t, wide);
            normalise_back(n2 + t, wide, tile, TILE, c.stats + 3 * wide + t, d, steps, dy + t, wide, dmiddle + t, wide);
            if (r.dout) times_kept(dmiddle + t, d, steps, keep(behind_out, g, b, d, t, steps, words), dout + t);
            apply(w.out_t, dout + t, wide, slope + t, wide, steps, Besides());
        });
        const Masks m = masks(g);
        for (int h = 0; h < H; h++) {
            const ptrdiff_t at_q = (ptrdiff_t)h * W * wide, at_k = (ptrdiff_t)h * W * wide_k;
            ATTEND_BACK[W](c.q + at_q, c.k + at_k, c.v + at_k, a.bias ? a.bias + at * n.keys : nullptr, n, m, b * H + h,
                           c.attended + at_q, slope + at_q, c.inverse + h * wide, c.shifts + h * wide, rest, dq + at_q,
                           dk + at_k, dv + at_k);
        }
        float* dx = a.dx + at * each;
        tiles(wide, [&](int t, int steps) {
            apply(self ? w.in_t : w.q_t, dq + t, wide, tile, TILE, steps, Besides());
            again(x + t, wide, d, steps, c.stats + t, c.stats + wide + t, n1 + t, wide);
            normalise_back(n1 + t, wide, tile, TILE, c.stats + wide + t, d, steps, dmiddle + t, wide, dx + t, wide);
        });
        if (!self)
            tiles(wide_k, [&](int t, int steps) {
                apply(w.k_t, dk + t, wide_k, a.dkey + at * d * wide_k + t, wide_k, steps, Besides());
                apply(w.v_t, dv + t, wide_k, a.dvalue + at * d * wide_k + t, wide_k, steps, Besides());
            });
    }

    size_t backward_room() const {
        return (size_t)d * TILE + (size_t)d * wide + keep_room() + back_room(W, n) + 64;
    }

    // Add some clips, from b on, to rows n0 to n1 of the gradients of the weights as they were packed: with the
    // LayerNorms' scales in them.
    void weight_rows(int g, int b, int clips, int which, int n0, int n1, const Room2& r) const {
        const ptrdiff_t each = (ptrdiff_t)d * wide;
        auto given = [&](const float* at, ptrdiff_t clip, int w) { return Rows{at + ((ptrdiff_t)g * B + b) * clip, clip, w}; };
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
            both(Rows{r.dout ? r.dout : r.dmiddle, each, wide}, Rows{first.attended, step, wide},
                 a.g_out_w + (ptrdiff_t)g * d * d, a.g_out_b + (ptrdiff_t)g * d);
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

    void clear(int g) const {
        auto none = [&](float* at, ptrdiff_t n) { std::memset(at + g * n, 0, n * sizeof(float)); };
        none(a.g_in_w, (ptrdiff_t)3 * d * d), none(a.g_in_b, 3 * d);
        none(a.g_out_w, (ptrdiff_t)d * d), none(a.g_out_b, d);
        none(a.g_fc1_w, (ptrdiff_t)4 * d * d), none(a.g_fc1_b, 4 * d);
        none(a.g_fc2_w, (ptrdiff_t)4 * d * d), none(a.g_fc2_b, d);
    }

    // From gradients of the packed weights to those of weights, scales and shifts apart.
    void unfold(int g) const {
        take_apart(a.in_w + (ptrdiff_t)g * 3 * d * d, a.norm1_w + (ptrdiff_t)g * d, a.norm1_b + (ptrdiff_t)g * d, 3 * d,
                   true, a.g_in_w + (ptrdiff_t)g * 3 * d * d, a.g_in_b + (ptrdiff_t)g * 3 * d,
                   a.g_norm1_w + (ptrdiff_t)g * d, a.g_norm1_b + (ptrdiff_t)g * d);
        take_apart(a.fc1_w + (ptrdiff_t)g * 4 * d * d, a.norm2_w + (ptrdiff_t)g * d, a.norm2_b + (ptrdiff_t)g * d, 4 * d,
                   false, a.g_fc1_w + (ptrdiff_t)g * 4 * d * d, a.g_fc1_b + (ptrdiff_t)g * 4 * d,
                   a.g_norm2_w + (ptrdiff_t)g * d, a.g_norm2_b + (ptrdiff_t)g * d);
    }

    void take_apart(const float* weight, const float* scale, const float* shift, int rows, bool scaled, float* gw,
                    float* gb, float* g_scale, float* g_shift) const {
        for (int c = 0; c < d; c++) g_scale[c] = g_shift[c] = 0;
        for (int i = 0; i < rows; i++) {
            const float r = scaled ? row_scale(i) : 1.0f, of_b = gb[i] * r;
            float* line = gw + (ptrdiff_t)i * d;
            const float* w = weight + (ptrdiff_t)i * d;
            for (int c = 0; c < d; c++) {
                const float of_w = line[c] * r;
                g_scale[c] += of_w * w[c];
                g_shift[c] += of_b * w[c];
                line[c] = of_w * scale[c] + of_b * shift[c];
            }
            gb[i] = of_b;
        }
    }

    void forward() const {
        Room packed(weights_room() * a.groups);
        std::vector<Weights> w(a.groups);
        Crew::run(a.threads, [&](Crew& crew) {
            Room own(forward_room());
            crew.each(a.groups, [&](int g) { w[g] = weights(g, false, packed.at + g * weights_room()); });
            crew.each(a.groups * B, [&](int at) { forward_clip(at / B, at % B, w[at / B], own.at); });
        });
    }

    // A group after the other: what the weights' gradients are made of is still in cache when they are.
    void backward() const {
        Room packed(weights_room() * a.groups);
        std::vector<Weights> w(a.groups);
        struct Task {
            int which, first, last;
        };
        std::vector<Task> tasks;
        const int rows[6] = {d, d, d, d, 4 * d, 4 * d}, some = 2 * SIDE;
        for (int which = 0; which < 6; which++)
            for (int i = 0; i < rows[which]; i += some)
                tasks.push_back({which, i, i + some < rows[which] ? i + some : rows[which]});
        const Room2 r = rooms();
        const int some_clips = at_once();
        Crew::run(a.threads, [&](Crew& crew) {
            Room own(backward_room());
            crew.each(a.groups, [&](int g) {
                w[g] = weights(g, true, packed.at + g * weights_room());
                clear(g);
            });
            for (int g = 0; g < a.groups; g++)
                for (int b = 0; b < B; b += some_clips) {
                    const int clips = b + some_clips < B ? some_clips : B - b;
                    crew.each(clips, [&](int i) { backward_clip(g, b + i, i, w[g], r, own.at); });
                    crew.each(tasks.size(), [&](int i) {
                        weight_rows(g, b, clips, tasks[i].which, tasks[i].first, tasks[i].last, r);
                    });
                }
            crew.each(a.groups, [&](int g) { unfold(g); });
        });
    }
};
