// The outputs, row by row with their sums in registers.

#pragma once

#include "panel.h"
#include "weights.h"

namespace {

// y [rows, width] of a group of inputs; rows are rounded up.
template <int NV, bool PACKED, int D, bool BASE, class T>
void forward_walk(const Panel<T> &panel, const Group<D, BASE, T> &group, int64_t inputs, int64_t rows, bool first,
                  T *y) {
    constexpr int64_t VL = Vector<T>::size;
    constexpr int AT_ONCE = WIDEST / NV; // rows: enough sums to wait for none
    const int64_t cell_apart = PACKED ? NV * VL : panel.cell_apart;
    for (int64_t n = 0; n < rows; n += AT_ONCE, y += AT_ONCE * NV * VL) {
        V<T> sum[AT_ONCE][NV];
        for (int r = 0; r < AT_ONCE; ++r)
            for (int v = 0; v < NV; ++v) sum[r][v] = first ? V<T>{} : load<V<T>>(y + (r * NV + v) * VL);
        for (int64_t i = 0; i < inputs; ++i)
            for (int r = 0; r < AT_ONCE; ++r) {
                const T *w = group.weight(n + r) + i;
                const T *c = panel.C + i * panel.input_apart + group.cell(n + r)[i] * cell_apart;
                for (int j = 0; j <= D; ++j, c += cell_apart)
                    for (int v = 0; v < NV; ++v) sum[r][v] += load<V<T>>(c + v * VL) * w[j * LANES<T>];
                if (!BASE) continue;
                c = panel.W + i * panel.base_apart;
                for (int v = 0; v < NV; ++v) sum[r][v] += load<V<T>>(c + v * VL) * w[(D + 1) * LANES<T>];
            }
        for (int r = 0; r < AT_ONCE; ++r)
            for (int v = 0; v < NV; ++v) store(y + (r * NV + v) * VL, sum[r][v]);
    }
}

// A tile of y put where it belongs.
template <class T> void join(const Shape &s, const T *from, int64_t rows, int64_t o0, T *to) {
    with_vectors<T>(s.O - o0, [&](auto vectors) {
        constexpr int64_t apart = decltype(vectors)::value * Vector<T>::size;
        const int64_t width = smaller(apart, s.O - o0);
        for (int64_t n = 0; n < rows; ++n) std::memcpy(to + n * s.O + o0, from + n * apart, width * sizeof(T));
    });
}

// Tiles [a, b) of the rows [n0, n0 + rows) of y; false where x holds a number that is not finite.
template <int D, bool BASE, class T>
bool forward_block(const Shape &s, const T *x, const T *C, const T *W, T *y, int64_t n0, int64_t rows, int64_t a,
                   int64_t b) {
    // Kept from call to call: fresh memory costs a page fault for every 4 KiB.
    static thread_local Weights<D, BASE, T> weights;
    static thread_local Room<T> room, panels;
    const int64_t size = rounds(rows, WIDEST) * WIDEST * TILE<T>, held = inputs_held(rows);
    T *sums = room.of((b - a) * size);
    bool finite = true;
    for (int64_t i0 = 0; i0 < s.I; i0 += held) {
        const int64_t end = smaller(i0 + held, s.I);
        finite &= weights.fill(s, x, n0, rows, i0, end - i0, false);
        for (int64_t t = a; t < b; ++t)
            for (int64_t i = i0; i < end; i += GROUP) {
                const int64_t inputs = smaller(GROUP, end - i);
                with_panel(s, C, W, i, inputs, t * TILE<T>, rows, panels, [&](auto NV, auto copy, auto panel) {
                    forward_walk<decltype(NV)::value, decltype(copy)::value>(panel, weights.group(i - i0), inputs, rows,
                                                                             i == 0, sums + (t - a) * size);
                });
            }
    }
    for (int64_t t = a; t < b; ++t) join(s, sums + (t - a) * size, rows, t * TILE<T>, y + n0 * s.O);
    return finite;
}

// Rows are cut as finely as there are threads, and outputs where there are not rows enough.
template <int D, bool BASE, class T>
bool forward(const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    const int64_t tiles = rounds(s.O, TILE<T>);
    const int64_t most = smaller(rows_of_y(s), rounds(s.N, threads)), blocks = rounds(s.N, most);
    const int64_t ranges = smaller(tiles, rounds(threads, blocks));
    int bad = 0;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1) reduction(| : bad)
    for (int64_t task = 0; task < blocks * ranges; ++task) {
        const int64_t n0 = task / ranges * most, range = task % ranges;
        bad |= !forward_block<D, BASE>(s, x, C, W, y, n0, smaller(most, s.N - n0), range * tiles / ranges,
                                       (range + 1) * tiles / ranges);
    }
    return !bad;
}

} // namespace
