// All K functions at every pixel of every channel, as maps for a convolution, and the way back.

#pragma once

#include "functions.h"

namespace {

// x [N, C, P], and how far apart in the maps, in numbers, lie images, channels of x, functions and
// pixels.
struct Maps {
    int64_t N, C, P, image, channel, map, pixel;

    int64_t begin(int64_t row) const { return row / C * image + row % C * channel; }
};

// Calls with where each channel of each image begins, in x and in the maps.
template <class F> void each_row(const Maps &m, int threads, F call) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < m.N * m.C; ++row) call(row * m.P, m.begin(row));
}

// A vector of pixels: their cells, and the D + 1 numbers of each cell's functions.
template <int D, class T> struct Pixels {
    static constexpr int64_t VL = Vector<T>::size;
    int32_t cells[VL];
    T w[D + 1][VL], dw[D + 1][VL];

    // Of `count` numbers; the rest are zeros.
    void fill(const Grid<T> &grid, const T *x, int64_t count) {
        const Place<T> place(grid, load_few(x, count));
        V<T> weight[D + 1], slope[D + 1];
        uniform_weights<D, T>(place.t, place.beyond, grid.per_unit, weight, slope);
        store(cells, __builtin_convertvector(place.cell, typename Whole<T>::type));
        for (int j = 0; j <= D; ++j) store(w[j], weight[j]), store(dw[j], slope[j]);
    }
};

// The pixels of one channel of one image. MAP: how far apart functions lie, where that is known.
template <int64_t MAP, int D, class T>
void maps_walk(const Shape &s, const Grid<T> &grid, const Maps &m, const T *x, T *to) {
    constexpr int64_t VL = Vector<T>::size;
    const int64_t K = s.K, map = MAP ? MAP : m.map;
    Pixels<D, T> pixels;
    for (int64_t p = 0; p < m.P; p += VL) {
        const int64_t count = smaller(VL, m.P - p);
        pixels.fill(grid, x + p, count);
        for (int64_t l = 0; l < count; ++l, to += m.pixel) {
            for (int64_t k = 0; k < K; ++k) to[k * map] = 0;
            T *at = to + pixels.cells[l] * map;
            for (int j = 0; j <= D; ++j) at[j * map] = pixels.w[j][l];
        }
    }
}

// dx = sum_j dw_j dmap_{cell + j}
template <int64_t MAP, int D, class T>
void maps_back_walk(const Grid<T> &grid, const Maps &m, const T *x, const T *from, T *dx) {
    constexpr int64_t VL = Vector<T>::size;
    const int64_t map = MAP ? MAP : m.map;
    Pixels<D, T> pixels;
    T there[D + 1][VL] = {};
    for (int64_t p = 0; p < m.P; p += VL) {
        const int64_t count = smaller(VL, m.P - p);
        pixels.fill(grid, x + p, count);
        for (int64_t l = 0; l < count; ++l, from += m.pixel) {
            const T *at = from + pixels.cells[l] * map;
            for (int j = 0; j <= D; ++j) there[j][l] = at[j * map];
        }
        V<T> sum = {};
        for (int j = 0; j <= D; ++j) sum += load<V<T>>(pixels.dw[j]) * load<V<T>>(there[j]);
        std::memcpy(dx + p, &sum, count * sizeof(T));
    }
}

template <int D, class T> void maps(const Shape &s, const Maps &m, const T *x, T *out, int threads) {
    const Grid<T> grid(s);
    const auto walk = m.map == 1 ? maps_walk<1, D, T> : maps_walk<0, D, T>;
    each_row(m, threads, [&](int64_t at, int64_t map) { walk(s, grid, m, x + at, out + map); });
}

template <int D, class T>
void maps_back(const Shape &s, const Maps &m, const T *x, const T *dout, T *dx, int threads) {
    const Grid<T> grid(s);
    const auto walk = m.map == 1 ? maps_back_walk<1, D, T> : maps_back_walk<0, D, T>;
    each_row(m, threads, [&](int64_t at, int64_t map) { walk(grid, m, x + at, dout + map, dx + at); });
}

} // namespace
