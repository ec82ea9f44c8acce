// Cells and weights of a block of rows: found for eight inputs at once, kept for some such groups.

#pragma once

#include "functions.h"

namespace {

// Of a group of inputs: cells [rows, GROUP], and weights and their derivatives [rows, M, GROUP].
template <int D, bool BASE, class T> struct Group {
    static constexpr int M = D + 1 + BASE; // the functions of a cell, and the base
    int32_t *cells;
    T *w, *dw;

    const int32_t *cell(int64_t n) const { return cells + n * GROUP; }
    const T *weight(int64_t n) const { return w + n * M * GROUP; }
    const T *slope(int64_t n) const { return dw + n * M * GROUP; }
};

template <int D, bool BASE, class T> class Weights {
    static constexpr int M = D + 1 + BASE;
    static constexpr int64_t VL = Vector<T>::size;
    Room<int32_t> cell_room;
    Room<T> w_room, dw_room;
    int32_t *cells;
    T *w, *dw;
    int64_t held; // rows

    template <bool SLOPES>
    static void weigh_evenly(int base, const Grid<T> &grid, const T *x, const Group<D, BASE, T> &to) {
        for (int64_t part = 0; part < GROUP; part += VL) {
            const V<T> at = load<V<T>>(x + part);
            const Place<T> place(grid, at);
            store(to.cells + part, __builtin_convertvector(place.cell, typename Whole<T>::type));
            V<T> w[M], dw[M];
            uniform_weights<D, T>(place.t, place.beyond, grid.per_unit, w, dw);
            if (BASE) activate<T>(base, at, w[M - 1], dw[M - 1]);
            for (int j = 0; j < M; ++j) store(to.w + j * GROUP + part, w[j]);
            for (int j = 0; SLOPES && j < M; ++j) store(to.dw + j * GROUP + part, dw[j]);
        }
    }

    static void weigh_unevenly(const Shape &s, const T *x, int64_t i0, int64_t inputs, const Group<D, BASE, T> &to) {
        for (int64_t i = 0; i < inputs; ++i) {
            const double *tau = s.knots + (s.knot_rows > 1 ? (i0 + i) * (s.G + 1 + 2 * D) : 0);
            to.cells[i] = uneven_cell(s, tau + D, x[i]);
            uneven_weights<D, T>(s, tau, to.cells[i], x[i], to.w + i, to.dw ? to.dw + i : nullptr);
        }
        for (int64_t part = 0; BASE && part < GROUP; part += VL) {
            V<T> a, da;
            activate<T>(s.base, load<V<T>>(x + part), a, da);
            store(to.w + (M - 1) * GROUP + part, a);
            if (to.dw) store(to.dw + (M - 1) * GROUP + part, da);
        }
    }

    // One group; false where a number is not finite.
    bool fill_group(const Shape &shape, const T *x, int64_t rows, int64_t i0, int64_t inputs,
                    Group<D, BASE, T> to) const {
        const Shape s = shape; // the compiler knows that the stores below don't change it
        const Grid<T> grid(s);
        V<T> sum = {};
        T few[GROUP] = {};
        for (int64_t n = 0; n < rows; ++n, x += s.I, to.cells += GROUP, to.w += M * GROUP) {
            const T *at = x;
            if (inputs < GROUP) {
                for (int64_t i = 0; i < inputs; ++i) few[i] = x[i];
                at = few;
            }
            for (int64_t part = 0; part < GROUP; part += VL) {
                const V<T> numbers = load<V<T>>(at + part);
                sum += numbers - numbers; // 0, or NaN where one is infinite or NaN
            }
            if (s.knots)
                weigh_unevenly(s, at, i0, inputs, to);
            else if (to.dw)
                weigh_evenly<true>(s.base, grid, at, to);
            else
                weigh_evenly<false>(s.base, grid, at, to);
            if (to.dw) to.dw += M * GROUP;
        }
        for (int64_t n = rows; n < held; ++n, to.cells += GROUP, to.w += M * GROUP) {
            std::memset(to.cells, 0, GROUP * sizeof(int32_t));
            std::memset(to.w, 0, M * GROUP * sizeof(T));
        }
        T all = 0;
        for (int64_t i = 0; i < VL; ++i) all += sum[i];
        return all == 0;
    }

  public:
    // Inputs [i0, i0 + inputs) of rows [n0, n0 + rows); false where a number is not finite.
    bool fill(const Shape &s, const T *x, int64_t n0, int64_t rows, int64_t i0, int64_t inputs, bool slopes) {
        held = rounds(rows, WIDEST) * WIDEST; // a walk may take as many rows at once
        const int64_t numbers = rounds(inputs, GROUP) * GROUP * held;
        cells = cell_room.of(numbers);
        w = w_room.of(M * numbers);
        dw = slopes ? dw_room.of(M * numbers) : nullptr;
        bool finite = true;
        for (int64_t i = 0; i < inputs; i += GROUP)
            finite &= fill_group(s, x + n0 * s.I + i0 + i, rows, i0 + i, smaller(GROUP, inputs - i), group(i));
        return finite;
    }

    // That of input i, the first of its group.
    Group<D, BASE, T> group(int64_t i) const {
        return {cells + i * held, w + M * i * held, dw ? dw + M * i * held : nullptr};
    }
};

} // namespace
