// A LayerNorm without scale and shift, of activations in lanes: each step of time by itself.
#pragma once
#include <cmath>

#include "lanes.h"

constexpr float EPS = 1e-5f;  // of torch's layer_norm

// x (d, steps) -> y; `mean` and `rate` (1 / sqrt(variance + eps)) of each step are kept.
static inline void normalise(const float* x, ptrdiff_t x_step, int d, int steps, float* y, ptrdiff_t y_step, float* mean,
                             float* rate) {
    for (int t = 0; t < steps; t += L) {
        lanes sum = zero(), square = zero();
        for (int c = 0; c < d; c++) sum = plus(sum, load(x + c * x_step + t));
        const lanes middle = times(sum, all(1.0f / d));
        for (int c = 0; c < d; c++) {
            const lanes apart = minus(load(x + c * x_step + t), middle);
            square = fma(apart, apart, square);
        }
        const lanes spread = root(fma(square, all(1.0f / d), all(EPS)));
        const lanes factor = over(all(1.0f), spread);
        for (int c = 0; c < d; c++)
            store(y + c * y_step + t, times(minus(load(x + c * x_step + t), middle), factor));
        store(mean + t, middle);
        store(rate + t, factor);
    }
}

// The normalised activations again, from what was kept.
static inline void again(const float* x, ptrdiff_t x_step, int d, int steps, const float* mean, const float* rate,
                         float* y, ptrdiff_t y_step) {
    for (int t = 0; t < steps; t += L) {
        const lanes middle = load(mean + t), factor = load(rate + t);
        for (int c = 0; c < d; c++)
            store(y + c * y_step + t, times(minus(load(x + c * x_step + t), middle), factor));
    }
}

// dx = add + the gradient through the norm, from y (normalised), its gradient and the kept rate. `add` may be null.
static inline void normalise_back(const float* y, ptrdiff_t y_step, const float* grad, ptrdiff_t grad_step,
                                  const float* rate, int d, int steps, const float* add, ptrdiff_t add_step, float* dx,
                                  ptrdiff_t dx_step) {
    for (int t = 0; t < steps; t += L) {
        lanes sum = zero(), along = zero();
        for (int c = 0; c < d; c++) {
            const lanes g = load(grad + c * grad_step + t);
            sum = plus(sum, g);
            along = fma(g, load(y + c * y_step + t), along);
        }
        sum = times(sum, all(1.0f / d));
        along = times(along, all(1.0f / d));
        const lanes factor = load(rate + t);
        for (int c = 0; c < d; c++) {
            const lanes g = minus(load(grad + c * grad_step + t), sum);
            const lanes back = minus(g, times(load(y + c * y_step + t), along));
            const lanes base = add ? load(add + c * add_step + t) : zero();
            store(dx + c * dx_step + t, fma(back, factor, base));
        }
    }
}
