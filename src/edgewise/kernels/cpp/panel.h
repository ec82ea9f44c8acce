// The coefficients of a group of inputs for a tile of outputs: copied so that they stay in the first
// cache, or where they are.

#pragma once

#include "shape.h"

namespace {

// Those of the base lie behind the others.
template <class T> struct Panel {
    const T *C, *W;
    int64_t cell_apart, input_apart, base_apart;
};

template <class T> Panel<T> lies(const Shape &s, const T *C, const T *W, int64_t i, int64_t o0) {
    return {C + i * s.O + o0, W ? W + i * s.O + o0 : nullptr, s.I * s.O, s.O, s.O};
}

// A copy [inputs, K + 1, width], with zeros beyond O.
template <int NV, class T>
Panel<T> packed(const Shape &s, const T *C, const T *W, int64_t i0, int64_t inputs, int64_t o0, T *to) {
    constexpr int64_t width = NV * Vector<T>::size;
    const int64_t size = (s.K + 1) * width, held = smaller(width, s.O - o0);
    for (int64_t k = 0; k < s.K + (W != nullptr); ++k)
        for (int64_t i = 0; i < inputs; ++i) {
            const T *from = (k < s.K ? C + (k * s.I + i0 + i) * s.O : W + (i0 + i) * s.O) + o0;
            T *row = to + i * size + k * width;
            if (held == width)
                for (int v = 0; v < NV; ++v) store(row + v * Vector<T>::size, load<V<T>>(from + v * Vector<T>::size));
            else
                for (int64_t o = 0; o < width; ++o) row[o] = o < held ? from[o] : T(0);
        }
    return {to, to + s.K * width, width, size, size};
}

// Calls with the number of vectors of a tile, whether its panel is a copy, and the panel.
template <class T, class F>
void with_panel(const Shape &s, const T *C, const T *W, int64_t i0, int64_t inputs, int64_t o0, int64_t rows,
                Room<T> &room, F call) {
    // Few rows would not repay a copy.
    if (rows * 4 < s.K && TILE<T> <= s.O - o0)
        return call(std::integral_constant<int, WIDEST>(), std::false_type(), lies(s, C, W, i0, o0));
    T *to = room.of(inputs * (s.K + 1) * TILE<T>);
    with_vectors<T>(s.O - o0, [&](auto vectors) {
        call(vectors, std::true_type(), packed<decltype(vectors)::value>(s, C, W, i0, inputs, o0, to));
    });
}

} // namespace
