// Dropout behind the maps of a layer: whose draws they are, and what is kept of some steps of a clip.
#pragma once
#include "call.h"
#include "maps.h"

enum Place { OUT, RELU, LAST };  // behind the output map (or what is read), the ReLU, the last map: drawn in this order

// One of them: keys of its draws, null without any, the least lane that is kept, the scale of what is.
struct Drop {
    const int32_t* keys;
    int least;
    float scale;
};

struct Drops {
    const LayerCall& a;

    bool on(Place place) const {
        const int64_t least[] = {a.least_out, a.least_relu, a.least_last};
        return a.drawn && least[place] > -32768;
    }
    Drop drop(int g, Place place) const {
        if (!on(place)) return {nullptr, -32768, 1.0f};
        const int64_t each = a.encoders * a.clips * a.queries * a.width, draws = (each + DRAW - 1) / DRAW;
        int64_t before = place > OUT && on(OUT) ? draws : 0;
        if (place > RELU && on(RELU)) before += (4 * each + DRAW - 1) / DRAW;
        const int64_t least[] = {a.least_out, a.least_relu, a.least_last};
        const double scale[] = {a.scale_out, a.scale_relu, a.scale_last};
        return {a.drawn + g / a.encoders * a.drawn_s + 2 * before, (int)least[place], (float)scale[place]};
    }

    // Room of `keep`: the words of a tile's 4d channels, and the bits they are cut from.
    size_t words_room() const { return (size_t)TILE * ((4 * a.width + 31) / 32); }
    size_t keep_room() const { return words_room() + up(TILE * 4 * a.width / 32 + 4); }

    // What is kept of `width` channels at some steps of a clip, from t on.
    Keep keep(const Drop& drop, int g, int b, int width, int t, int steps, uint32_t* room) const {
        if (!drop.keys) return {};
        uint32_t* bits = room + words_room();
        const int rows = a.queries - t < steps ? a.queries - t : steps;
        const int64_t first = ((g % a.encoders * a.clips + b) * a.queries + t) * width;
        keep_run(a.noise, drop.keys, drop.least, first, (int64_t)rows * width, bits);
        spread(bits, first % 32, width, rows, room, TILE);
        return {room, TILE, drop.scale};
    }
};

// Some steps of (width, steps), `step` floats from channel to channel, times what dropout leaves of them.
static inline void times_kept(const float* x, ptrdiff_t step, int width, int steps, const Keep& keep, float* y) {
    for (int c = 0; c < width; c++)
        for (int t = 0; t < steps; t += L)
            store(y + c * step + t, times(load(x + c * step + t), keep.factor(c, t)));
}

// x + what dropout leaves of `read`, (width, steps) each; null: x itself.
static inline void plus(const float* x, const float* read, ptrdiff_t step, int width, int steps, const Keep& keep,
                        float* y) {
    for (int c = 0; c < width; c++)
        for (int t = 0; t < steps; t += L) {
            const lanes v = load(x + c * step + t);
            store(y + c * step + t, read ? fma(load(read + c * step + t), keep.factor(c, t), v) : v);
        }
}
