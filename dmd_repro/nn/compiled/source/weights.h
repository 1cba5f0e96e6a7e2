// A layer's weights as its maps read them, with the LayerNorms' scales and shifts in them, and their gradients apart again.
#pragma once
#include <cmath>

#include "call.h"
#include "maps.h"

// The weights of a group.
struct Weights {
    Packed q, k, v, out, fc1, fc2;  // forward
    Packed in_t, out_t, fc1_t, fc2_t;  // turned, for gradients; in_t is (d, 3d), or three (d, d)
    Packed q_t, k_t, v_t;
    float *in_b, *fc1_b;
};

struct Parameters {
    const LayerCall& a;
    int d, W;
    bool self, attends, feeds;  // whether there is a first half, and a second

    explicit Parameters(const LayerCall& call)
        : a(call), d(call.width), W(call.width / call.heads), self(call.key == nullptr), attends(call.in_w != nullptr),
          feeds(call.fc1_w != nullptr) {}

    // What rows of the first map are scaled by: those of q, after their bias.
    float row_scale(int row) const { return row < d ? 1.0f / std::sqrt((float)W) : 1.0f; }

    size_t room() const { return (size_t)24 * d * d + 8 * d + 64; }

    Weights weights(int g, bool back, float* room) const {
        Weights w;
        if (attends) first_half(g, back, room, w);
        if (feeds) second_half(g, back, room, w);
        return w;
    }

    static Packed packed(const float* from, ptrdiff_t n_step, ptrdiff_t k_step, int rows, int columns, const float* r,
                         const float* c, float*& at) {
        const Packed p = pack(from, n_step, k_step, rows, columns, r, c, at);
        at += (ptrdiff_t)rows * columns;
        return p;
    }

    void first_half(int g, bool back, float*& at, Weights& w) const {
        const float *in = a.in_w + (ptrdiff_t)g * 3 * d * d, *out = a.out_w + (ptrdiff_t)g * d * d;
        const float *scale = a.norm1_w + (ptrdiff_t)g * d, *shift = a.norm1_b + (ptrdiff_t)g * d;
        float* scales = at;
        for (int i = 0; i < 3 * d; i++) scales[i] = row_scale(i);
        at += 3 * d;
        if (back) {  // turned, its columns are the map's rows, and its rows the norm's channels
            if (self) w.in_t = packed(in, 1, d, d, 3 * d, scale, scales, at);
            else {
                w.q_t = packed(in, 1, d, d, d, scale, scales, at);
                w.k_t = packed(in + d * d, 1, d, d, d, scale, nullptr, at);
                w.v_t = packed(in + 2 * d * d, 1, d, d, d, scale, nullptr, at);
            }
            w.out_t = packed(out, 1, d, d, d, nullptr, nullptr, at);
            return;
        }
        w.in_b = at, at += 3 * d;
        folded_bias(in, a.in_b + (ptrdiff_t)g * 3 * d, shift, 3 * d, scales, w.in_b);
        w.q = packed(in, d, 1, d, d, scales, scale, at);
        w.k = packed(in + d * d, d, 1, d, d, nullptr, scale, at);
        w.v = packed(in + 2 * d * d, d, 1, d, d, nullptr, scale, at);
        w.out = packed(out, d, 1, d, d, nullptr, nullptr, at);
    }

    void second_half(int g, bool back, float*& at, Weights& w) const {
        const float *fc1 = a.fc1_w + (ptrdiff_t)g * 4 * d * d, *fc2 = a.fc2_w + (ptrdiff_t)g * 4 * d * d;
        const float *scale = a.norm2_w + (ptrdiff_t)g * d, *shift = a.norm2_b + (ptrdiff_t)g * d;
        if (back) {
            w.fc1_t = packed(fc1, 1, d, d, 4 * d, scale, nullptr, at);
            w.fc2_t = packed(fc2, 1, 4 * d, 4 * d, d, nullptr, nullptr, at);
            return;
        }
        w.fc1_b = at, at += 4 * d;
        folded_bias(fc1, a.fc1_b + (ptrdiff_t)g * 4 * d, shift, 4 * d, nullptr, w.fc1_b);
        w.fc1 = packed(fc1, d, 1, 4 * d, d, nullptr, scale, at);
        w.fc2 = packed(fc2, 4 * d, 1, d, 4 * d, nullptr, nullptr, at);
    }

    void folded_bias(const float* weight, const float* bias, const float* shift, int rows, const float* scales,
                     float* to) const {
        for (int i = 0; i < rows; i++) {
            float sum = bias[i];
            for (int c = 0; c < d; c++) sum += weight[(ptrdiff_t)i * d + c] * shift[c];
            to[i] = scales ? sum * scales[i] : sum;
        }
    }

    void clear(int g) const {
        auto none = [&](float* at, ptrdiff_t n) { std::memset(at + g * n, 0, n * sizeof(float)); };
        if (feeds) {
            none(a.g_fc1_w, (ptrdiff_t)4 * d * d), none(a.g_fc1_b, 4 * d);
            none(a.g_fc2_w, (ptrdiff_t)4 * d * d), none(a.g_fc2_b, d);
        }
        if (!attends) return;
        none(a.g_in_w, (ptrdiff_t)3 * d * d), none(a.g_in_b, 3 * d);
        none(a.g_out_w, (ptrdiff_t)d * d), none(a.g_out_b, d);
    }

    // From gradients of the packed weights to those of weights, scales and shifts apart.
    void unfold(int g) const {
        if (feeds)
            take_apart(a.fc1_w + (ptrdiff_t)g * 4 * d * d, a.norm2_w + (ptrdiff_t)g * d, a.norm2_b + (ptrdiff_t)g * d,
                       4 * d, false, a.g_fc1_w + (ptrdiff_t)g * 4 * d * d, a.g_fc1_b + (ptrdiff_t)g * 4 * d,
                       a.g_norm2_w + (ptrdiff_t)g * d, a.g_norm2_b + (ptrdiff_t)g * d);
        if (attends)
            take_apart(a.in_w + (ptrdiff_t)g * 3 * d * d, a.norm1_w + (ptrdiff_t)g * d, a.norm1_b + (ptrdiff_t)g * d,
                       3 * d, true, a.g_in_w + (ptrdiff_t)g * 3 * d * d, a.g_in_b + (ptrdiff_t)g * 3 * d,
                       a.g_norm1_w + (ptrdiff_t)g * d, a.g_norm1_b + (ptrdiff_t)g * d);
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
};
