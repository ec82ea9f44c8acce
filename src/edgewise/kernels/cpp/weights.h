// Cells and weights of a block of rows: found for a vector of inputs at once, kept for some groups
// of eight.

#pragma once

#include "functions.h"

namespace {

// Of a group of inputs: cells [rows, GROUP], and weights and their derivatives
// [rows / ROWS, M, ROWS, GROUP].
template <int D, bool BASE, class T> struct Group {
    static constexpr int M = D + 1 + BASE; // the functions of a cell, and the base
    int32_t *cells;
    T *w, *dw;

    const int32_t *cell(int64_t n) const { return cells + n * GROUP; }
    const T *weight(int64_t n) const { return w + place(n); }
    const T *slope(int64_t n) const { return dw + place(n); }

    static int64_t place(int64_t n) { return n / ROWS<T> * M * LANES<T> + n % ROWS<T> * GROUP; }
};

template <int D, bool BASE, class T> class Weights {
    static constexpr int M = D + 1 + BASE;
    static constexpr int64_t AHEAD = 16; // rows
    static constexpr int64_t VL = Vector<T>::size;
    Room<int32_t> cell_room;
    Room<T> w_room, dw_room;
    int32_t *cells;
    T *w, *dw;
    int64_t held; // rows

    // The weights of a vector of numbers, which begins at `part` of the LANES.
    template <bool SLOPES>
    static void weigh_evenly(int base, const Grid<T> &grid, V<T> x, int64_t part, const Group<D, BASE, T> &to) {
        const Place<T> place(grid, x);
        store(to.cells + part, __builtin_convertvector(place.cell, typename Whole<T>::type));
        V<T> w[M], dw[M];
        uniform_weights<D, T>(place.t, place.beyond, grid.per_unit, w, dw);
        if (BASE) activate<T>(base, x, w[M - 1], dw[M - 1]);
        for (int j = 0; j < M; ++j) store(to.w + j * LANES<T> + part, w[j]);
        for (int j = 0; SLOPES && j < M; ++j) store(to.dw + j * LANES<T> + part, dw[j]);
    }

    static void weigh_base(int base, V<T> x, int64_t part, const Group<D, BASE, T> &to) {
        V<T> a, da;
        activate<T>(base, x, a, da);
        store(to.w + (M - 1) * LANES<T> + part, a);
        if (to.dw) store(to.dw + (M - 1) * LANES<T> + part, da);
    }

    // One row of x on knots of its own, at lane `at`.
    static void weigh_unevenly(const Shape &s, const T *x, int64_t i0, int64_t inputs, int64_t at,
                               const Group<D, BASE, T> &to) {
        for (int64_t i = 0; i < inputs; ++i) {
            const double *tau = s.knots + (s.knot_rows > 1 ? (i0 + i) * (s.G + 1 + 2 * D) : 0);
            const int32_t cell = to.cells[at + i] = uneven_cell(s, tau + D, x[i]);
            uneven_weights<D, T>(s, tau, cell, x[i], to.w + at + i, to.dw ? to.dw + at + i : nullptr);
        }
    }

    // A vector of the inputs of one row, or of all of some rows `apart` from each other.
    static V<T> side_by_side(const T *x, int64_t apart) {
        if constexpr (ROWS<T> == 1)
            return load<V<T>>(x);
        else
            return beside(load<Short<T>>(x), load<Short<T>>(x + apart));
    }

    // One group; false where a number is not finite.
    bool fill_group(const Shape &shape, const T *x, int64_t rows, int64_t i0, int64_t inputs,
                    Group<D, BASE, T> to) const {
        const Shape s = shape; // the compiler knows that the stores below don't change it
        const Grid<T> grid(s);
        V<T> sum = {};
        T few[LANES<T>] = {};
        for (int64_t n = rows / ROWS<T> * ROWS<T>; n < held; n += ROWS<T>) { // what no row fills is read all the same
            std::memset(to.cells + n * GROUP, 0, LANES<T> * sizeof(int32_t));
            std::memset(to.w + n * M * GROUP, 0, M * LANES<T> * sizeof(T));
        }
        for (int64_t n = 0; n < rows; n += ROWS<T>, x += ROWS<T> * s.I, to.cells += LANES<T>, to.w += M * LANES<T>) {
            // A row is a page further, which no processor fetches by itself.
            for (int64_t r = 0; r < ROWS<T>; ++r) __builtin_prefetch(x + (AHEAD + r) * s.I);
            const int64_t here = smaller(ROWS<T>, rows - n);
            const bool full = inputs == GROUP && here == ROWS<T>;
            for (int64_t r = 0; !full && r < here; ++r)
                for (int64_t i = 0; i < inputs; ++i) few[r * GROUP + i] = x[r * s.I + i];
            const T *at = full ? x : few;
            const int64_t apart = full ? s.I : GROUP;
            for (int64_t part = 0; part < LANES<T>; part += VL) {
                const V<T> numbers = side_by_side(at + part, apart);
                sum += numbers - numbers; // 0, or NaN where one is infinite or NaN
                if (s.knots && BASE)
                    weigh_base(s.base, numbers, part, to);
                else if (!s.knots && to.dw)
                    weigh_evenly<true>(s.base, grid, numbers, part, to);
                else if (!s.knots)
                    weigh_evenly<false>(s.base, grid, numbers, part, to);
            }
            for (int64_t r = 0; s.knots && r < here; ++r)
                weigh_unevenly(s, at + r * apart, i0, inputs, r * GROUP, to);
            if (to.dw) to.dw += M * LANES<T>;
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
