// A convolution of each channel with the steps before, and its activation:
//
//   p_l = b + sum_i w_i x_{l + i},   y_l = p_l sigmoid(p_l),   i = 0 .. width - 1
//
// where x begins width - 1 steps before y. A vector of channels at once; on the way back p is found
// again.

#pragma once

#include "functions.h"

namespace {

// x [S, L + width - 1, C], y [S, L, C], w [width, C], b [C].
struct Window {
    int64_t S, L, C, width;

    int64_t inputs() const { return (L + width - 1) * C; }
};

// p of the `count` channels that begin at x, w and b.
template <class T> inline V<T> convolved(const Window &s, const T *x, const T *w, const T *b, int64_t count) {
    V<T> sum = load_some(b, count);
    for (int64_t i = 0; i < s.width; ++i) sum += load_some(w + i * s.C, count) * load_some(x + i * s.C, count);
    return sum;
}

template <class T>
void causal_convolution(const Window &s, const T *x, const T *w, const T *b, T *y, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t q = 0; q < s.S; ++q)
        for (int64_t l = 0; l < s.L; ++l)
            for (int64_t c = 0; c < s.C; c += Vector<T>::size) {
                const int64_t count = smaller(Vector<T>::size, s.C - c);
                V<T> value, slope;
                activate<T>(SILU, convolved(s, x + q * s.inputs() + l * s.C + c, w + c, b + c, count), value, slope);
                store_some(y + (q * s.L + l) * s.C + c, value, count);
            }
}

// One sequence, some channels; dw [width, C] and db [C] are its share. dp has room for L vectors, and
// zeros for width - 1 before and after them.
template <class T>
void causal_back_channels(const Window &s, const T *x, const T *w, const T *b, const T *dy, T *dx, T *dw, T *db,
                          T *dp, int64_t count) {
    constexpr int64_t VL = Vector<T>::size;
    const int64_t around = (s.width - 1) * VL;
    V<T> sum = {};
    std::memset(dp, 0, around * sizeof(T));
    std::memset(dp + around + s.L * VL, 0, around * sizeof(T));
    for (int64_t l = 0; l < s.L; ++l) {
        V<T> value, slope;
        activate<T>(SILU, convolved(s, x + l * s.C, w, b, count), value, slope);
        slope *= load_some(dy + l * s.C, count);
        store(dp + around + l * VL, slope);
        sum += slope;
    }
    store_some(db, sum, count);
    for (int64_t i = 0; i < s.width; ++i) {
        V<T> total = {};
        for (int64_t l = 0; l < s.L; ++l)
            total += load<V<T>>(dp + around + l * VL) * load_some(x + (l + i) * s.C, count);
        store_some(dw + i * s.C, total, count);
    }
    for (int64_t m = 0; m < s.L + s.width - 1; ++m) {
        V<T> total = {};
        for (int64_t i = 0; i < s.width; ++i)
            total += load_some(w + i * s.C, count) * load<V<T>>(dp + around + (m - i) * VL);
        store_some(dx + m * s.C, total, count);
    }
}

template <class T>
void causal_convolution_back(const Window &s, const T *x, const T *w, const T *b, const T *dy, T *dx, T *dw, T *db,
                             int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t q = 0; q < s.S; ++q) {
        static thread_local Room<T> room;
        T *dp = room.of((s.L + 2 * (s.width - 1)) * Vector<T>::size);
        for (int64_t c = 0; c < s.C; c += Vector<T>::size)
            causal_back_channels(s, x + q * s.inputs() + c, w + c, b + c, dy + q * s.L * s.C + c,
                                 dx + q * s.inputs() + c, dw + q * s.width * s.C + c, db + q * s.C + c, dp,
                                 smaller(Vector<T>::size, s.C - c));
    }
}

} // namespace
