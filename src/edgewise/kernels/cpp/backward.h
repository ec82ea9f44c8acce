// The gradients: of the inputs row by row, of the coefficients cell by cell.

#pragma once

#include "order.h"
#include "panel.h"

namespace {

// A strip [rows, STRIP] of dy, with zeros beyond O.
template <class T> void cut(const Shape &s, const T *from, int64_t rows, int64_t o0, T *to) {
    const int64_t width = larger(0, smaller(STRIP<T>, s.O - o0));
    for (int64_t n = 0; n < rows; ++n, to += STRIP<T>) {
        std::memcpy(to, from + n * s.O + o0, width * sizeof(T));
        for (int64_t o = width; o < STRIP<T>; ++o) to[o] = 0;
    }
}

// dx [rows, GROUP] of a group of inputs: sum_o dy[n, o] sum_j dw_j C[cell + j, i, o]. Of dy
// come strips, `apart` from each other.
template <int NV, bool PACKED, int D, bool BASE, class T>
void inputs_walk(const Panel<T> &panel, const Group<D, BASE, T> &group, int64_t inputs, int64_t rows, const T *dy,
                 int64_t apart, T *dx) {
    constexpr int64_t VL = Vector<T>::size;
    const int64_t cell_apart = PACKED ? NV * VL : panel.cell_apart;
    for (int64_t n = 0; n < rows; ++n, dy += STRIP<T>, dx += GROUP) {
        V<T> g[NV], sum[GROUP];
        for (int v = 0; v < NV; ++v) g[v] = load<V<T>>(dy + v / NARROW * apart + v % NARROW * VL);
        for (int64_t i = 0; i < inputs; ++i) {
            const T *dw = group.slope(n) + i, *base = BASE ? panel.W + i * panel.base_apart : nullptr;
            const T *c = panel.C + i * panel.input_apart + group.cell(n)[i] * cell_apart;
            V<T> total[2] = {}; // two, as an addition waits for the one before
            for (int v = 0; v < NV; ++v) {
                V<T> slope = load<V<T>>(c + v * VL) * dw[0];
                for (int j = 1; j <= D; ++j) slope += load<V<T>>(c + j * cell_apart + v * VL) * dw[j * LANES<T>];
                if (BASE) slope += load<V<T>>(base + v * VL) * dw[(D + 1) * LANES<T>];
                total[v % 2] += slope * g[v];
            }
            sum[i] = total[0] + total[1];
        }
        for (int64_t i = inputs; i < GROUP; ++i) sum[i] = V<T>{};
        add_up(sum, dx);
    }
}

// NV vectors of one row of dC, written or added to.
template <int NV, class T> inline void give(T *to, int64_t width, const V<T> *from, bool first) {
    constexpr int64_t VL = Vector<T>::size;
    if (width == NV * VL) {
        for (int v = 0; v < NV; ++v, to += VL) store(to, first ? from[v] : load<V<T>>(to) + from[v]);
        return;
    }
    T edge[NV * VL];
    for (int v = 0; v < NV; ++v) store(edge + v * VL, from[v]);
    for (int64_t o = 0; o < width; ++o) to[o] = first ? edge[o] : to[o] + edge[o];
}

// dC[k, i, o] += sum_n w dy over a block's rows, for one input, whose row of C begins `at`; the D + 1
// sums stay in registers, and move up by one function from cell to cell.
template <int NV, int D, bool BASE, class T>
void coefficients_walk(const Shape &s, const Order<D, BASE, T> &order, int64_t i, int64_t at, int64_t width,
                       const T *dy, bool first, T *dC, T *dW) {
    constexpr int M = D + 1 + BASE;
    V<T> sum[M][NV] = {};
    const T *w = order.begin(i, 0);
    for (int64_t cell = 0; cell < s.G; ++cell) {
        for (const T *end = order.begin(i, cell + 1); w < end; w += RECORD) {
            const T *g = dy + row_of(w) * STRIP<T>;
            V<T> part[NV];
            for (int v = 0; v < NV; ++v) part[v] = load<V<T>>(g + v * Vector<T>::size);
            for (int j = 0; j < M; ++j)
                for (int v = 0; v < NV; ++v) sum[j][v] += part[v] * w[j];
        }
        give<NV>(dC + cell * s.I * s.O + at, width, sum[0], first);
        for (int j = 0; j < D; ++j)
            for (int v = 0; v < NV; ++v) sum[j][v] = sum[j + 1][v];
        for (int v = 0; v < NV; ++v) sum[D][v] = V<T>{};
    }
    for (int j = 0; j < D; ++j) give<NV>(dC + (s.G + j) * s.I * s.O + at, width, sum[j], first);
    if (BASE) give<NV>(dW + at, width, sum[M - 1], first);
}

// A block of rows: n0 and their number, and all of dy in strips.
template <class T> struct Block {
    int64_t n0, rows;
    const T *strips;

    int64_t strip() const { return rows * STRIP<T>; }
};

// Of inputs [i0, end), whose first group begins with i0; a strip of dy serves them all while it is in
// the first cache.
template <int D, bool BASE, class T>
void coefficients_block(const Shape &s, const Block<T> &block, const Weights<D, BASE, T> &weights, int64_t i0,
                        int64_t end, T *dC, T *dW) {
    static thread_local std::vector<Order<D, BASE, T>> orders;
    orders.resize(larger(orders.size(), rounds(end - i0, GROUP)));
    for (int64_t i = i0; i < end; i += GROUP)
        orders[(i - i0) / GROUP].sort(weights.group(i - i0), s.G, block.rows, smaller(GROUP, end - i));
    for (int64_t o0 = 0; o0 < s.O; o0 += STRIP<T>) {
        const T *strip = block.strips + o0 / STRIP<T> * block.strip();
        const int64_t width = smaller(STRIP<T>, s.O - o0);
        // Few outputs need no more than a vector.
        const auto walk =
            width > Vector<T>::size ? coefficients_walk<NARROW, D, BASE, T> : coefficients_walk<1, D, BASE, T>;
        for (int64_t i = i0; i < end; ++i)
            walk(s, orders[(i - i0) / GROUP], (i - i0) % GROUP, i * s.O + o0, width, strip, block.n0 == 0, dC, dW);
    }
}

// The same inputs.
template <int D, bool BASE, class T>
void inputs_block(const Shape &s, const Block<T> &block, const Weights<D, BASE, T> &weights, int64_t i0, int64_t end,
                  const T *C, const T *W, T *dx) {
    static thread_local Room<T> room, panels;
    const int64_t groups = rounds(end - i0, GROUP), size = block.rows * GROUP;
    T *sums = room.of(groups * size);
    std::memset(sums, 0, groups * size * sizeof(T));
    for (int64_t o0 = 0; o0 < s.O; o0 += TILE<T>)
        for (int64_t i = i0; i < end; i += GROUP) {
            const int64_t inputs = smaller(GROUP, end - i);
            with_panel(s, C, W, i, inputs, o0, block.rows, panels, [&](auto NV, auto copy, auto panel) {
                inputs_walk<decltype(NV)::value, decltype(copy)::value>(
                    panel, weights.group(i - i0), inputs, block.rows, block.strips + o0 / STRIP<T> * block.strip(),
                    block.strip(), sums + (i - i0) / GROUP * size);
            });
        }
    for (int64_t i = i0; i < end; ++i)
        for (int64_t n = 0; n < block.rows; ++n)
            dx[(block.n0 + n) * s.I + i] = sums[(i - i0) / GROUP * size + n * GROUP + (i - i0) % GROUP];
}

// Inputs are independent of each other; dx may be null, or dC and dW.
template <int D, bool BASE, class T>
void backward(const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW, int threads) {
    constexpr int64_t PER_TILE = WIDEST / NARROW;
    const int64_t strips = rounds(s.O, TILE<T>) * PER_TILE, most = smaller(rows_of_dC(s), s.N);
    const int64_t held = smaller(inputs_held(most), rounds(s.I, threads));
    static thread_local Room<T> room;
    T *cut_dy = room.of(strips * most * STRIP<T>);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        static thread_local Weights<D, BASE, T> weights;
        for (int64_t n0 = 0; n0 < s.N; n0 += most) {
            const Block<T> block{n0, smaller(most, s.N - n0), cut_dy};
#pragma omp for
            for (int64_t t = 0; t < strips; ++t)
                cut(s, dy + n0 * s.O, block.rows, t * STRIP<T>, cut_dy + t * block.strip());
#pragma omp for schedule(dynamic)
            for (int64_t i0 = 0; i0 < s.I; i0 += held) {
                const int64_t end = smaller(i0 + held, s.I);
                weights.fill(s, x, n0, block.rows, i0, end - i0, dx);
                if (dC) coefficients_block(s, block, weights, i0, end, dC, dW);
                if (dx) inputs_block(s, block, weights, i0, end, C, W, dx);
            }
        }
    }
}

} // namespace
