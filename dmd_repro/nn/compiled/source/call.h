// What a layer is called with: sizes, tensors by their addresses, dropout (`compiled/call.py` has the same fields).
#pragma once
#include <cstdint>

struct LayerCall {
    const float *x, *key, *value, *bias;  // key and value are null in self-attention
    // A layer has two halves: up to the output map, and from there on. Without the second (`fc1_w` null) y is what the
    // output map gives; without the first (`in_w` null) `read` is added to x in its place, if it is not null.
    const float* read;
    const int32_t *keys, *noise, *least;
    const float* scales;
    const int32_t* drawn;  // keys of the draws behind the maps, place after place (`drop`); null: no dropout there
    const float *norm1_w, *norm1_b, *in_w, *in_b, *out_w, *out_b, *norm2_w, *norm2_b, *fc1_w, *fc1_b, *fc2_w, *fc2_b;
    float *kept, *y;  // what the backward pass reads of each clip, `Clip`; null: nothing is kept
    const float* grad;
    float *dx, *dkey, *dvalue, *dread;
    float *g_norm1_w, *g_norm1_b, *g_in_w, *g_in_b, *g_out_w, *g_out_b, *g_norm2_w, *g_norm2_b, *g_fc1_w, *g_fc1_b,
        *g_fc2_w, *g_fc2_b;
    float* room;  // of the backward pass: `kernels_layer_room` floats
    double scale_out, scale_relu, scale_last;  // of what dropout keeps behind the maps
    int64_t groups, clips, drawn_s, least_out, least_relu, least_last;
    int64_t heads, width, queries, keys_n, causal, offset;
    int64_t encoders, draws_s, draws_e, rows, step, pieces, threads;
};
