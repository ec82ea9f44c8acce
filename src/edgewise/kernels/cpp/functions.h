// The functions of one edge: where x lies, the D + 1 B-splines that are not zero there, and the
// base activation; a vector of inputs at once on equal cells, one by one on uneven knots.

#pragma once

#include "shape.h"

#include <cmath>
#include <limits>

namespace {

// The whole number next to x: among numbers as large as this one there are no others.
template <class T> inline V<T> nearest(V<T> x) {
    constexpr T large = T(3) * T(int64_t(1) << (std::numeric_limits<T>::digits - 2));
    return (x + large) - large;
}

// Equal cells in T, each number with what rounding took from it.
template <class T> struct Grid {
    T low, low_rest, per_unit, per_unit_rest, cells;

    explicit Grid(const Shape &s)
        : low(T(s.low)), low_rest(T(s.low - low)), per_unit(T(s.per_unit)),
          per_unit_rest(T(s.per_unit - per_unit)), cells(T(s.G)) {}
};

// The cell of x, the local coordinate in [0, 1], and how far x lies beyond the ends. On many cells
// u = (x - low) per_unit has few digits left behind the point; t is found again from x, with what
// the first subtraction lost (Knuth's two-sum), and so has all of T's digits.
template <class T> struct Place {
    V<T> t, beyond, cell; // a whole number

    Place(const Grid<T> &grid, V<T> x) {
        const V<T> zero = {}, one = zero + T(1), last = zero + (grid.cells - T(1));
        const V<T> away = x - grid.low, back = away - x;
        const V<T> lost = (x - (away - back)) - (grid.low + back) - grid.low_rest;
        const V<T> u = away * grid.per_unit, above = u > zero ? u : zero; // also where it is NaN
        const V<T> near = nearest<T>(above < last ? above : last);
        t = away * grid.per_unit - near;
        t += lost * grid.per_unit + away * grid.per_unit_rest;
        const V<T> down = t < zero ? (near > zero ? one : zero) : zero;
        cell = near - down;
        t += down;
        const V<T> all = t;
        t = t > zero ? t : zero;
        t = t < one ? t : one;
        beyond = all - t;
    }
};

// The weights of the D + 1 functions of a cell. With v of degree D - 1 at local coordinate t,
// w_j = ((t + D - j) v_{j-1} + (1 - t + j) v_j) / D and dw_j / dt = v_{j-1} - v_j (the recursion of
// Cox and de Boor on equal cells); beyond the ends the functions go on as straight lines.
template <int D, class T>
inline void uniform_weights(V<T> t, V<T> beyond, T per_unit, V<T> *w, V<T> *dw) {
    V<T> v[D + 1];
    v[0] = V<T>{} + T(1);
    for (int d = 1; d < D; ++d) {
        const T by = T(1) / d;
        v[d] = t * by * v[d - 1];
        for (int j = d - 1; j > 0; --j) v[j] = ((t + T(d - j)) * v[j - 1] + (T(1 + j) - t) * v[j]) * by;
        v[0] = v[0] * (T(1) - t) * by;
    }
    for (int j = 0; j <= D; ++j) {
        const V<T> below = j ? v[j ? j - 1 : 0] : V<T>{}, here = j < D ? v[j] : V<T>{};
        const V<T> slope = below - here;
        w[j] = ((t + T(D - j)) * below + (T(1 + j) - t) * here) * (T(1) / D) + beyond * slope;
        dw[j] = slope * per_unit;
    }
}

// The same on uneven knots tau [G + 1 + 2 D] of one input, whose cell begins at tau[D + cell]
// (de Boor 1978, ch. X); w and dw lie LANES apart.
template <int D, class T>
void uneven_weights(const Shape &s, const double *tau, int32_t cell, double x, T *w, T *dw) {
    const double low = tau[D], high = tau[D + s.G];
    const double inside = x > low ? (x < high ? x : high) : low;
    tau += cell;
    double v[D + 1] = {1.0}, slope[D + 1] = {0.0};
    for (int d = 1; d <= D; ++d) {
        double next[D + 1] = {0.0};
        for (int j = 0; j < d; ++j) {
            const double left = tau[D + 1 + j - d], right = tau[D + 1 + j];
            const double part = v[j] / (right - left);
            next[j] += (right - inside) * part;
            next[j + 1] += (inside - left) * part;
            if (d < D) continue;
            slope[j] -= D * part;
            slope[j + 1] += D * part;
        }
        for (int j = 0; j <= d; ++j) v[j] = next[j];
    }
    for (int j = 0; j <= D; ++j) {
        w[j * LANES<T>] = T(v[j] + (x - inside) * slope[j]);
        if (dw) dw[j * LANES<T>] = T(slope[j]);
    }
}

inline int32_t uneven_cell(const Shape &s, const double *breaks, double x) {
    int64_t cell = 0, above = s.G;
    while (above - cell > 1) {
        const int64_t middle = (cell + above) / 2;
        (x < breaks[middle] ? above : cell) = middle;
    }
    return int32_t(cell);
}

// e^x: 2^n e^r with |r| <= log(2) / 2, and e^r by its series (float: relative error below 2e-7).
inline V<float> exponential(V<float> x) {
    const V<float> top = V<float>{} + 88.0f, bottom = V<float>{} - 87.0f;
    x = x < top ? x : top;
    x = x > bottom ? x : bottom;
    const V<float> whole = nearest<float>(x * 1.44269504f);
    const V<float> r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    V<float> sum = V<float>{} + 1.0f / 5040;
    for (const float term : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) sum = sum * r + term;
    const Whole<float>::type power = (__builtin_convertvector(whole, Whole<float>::type) + 127) << 23;
    return sum * load<V<float>>(reinterpret_cast<const float *>(&power));
}
inline V<double> exponential(V<double> x) {
    for (int64_t i = 0; i < Vector<double>::size; ++i) x[i] = std::exp(x[i]);
    return x;
}

// The base activation and its derivative.
template <class T> inline void activate(int base, V<T> x, V<T> &a, V<T> &da) {
    if (base == IDENTITY) {
        a = x;
        da = V<T>{} + T(1);
        return;
    }
    const V<T> s = T(1) / (T(1) + exponential(base == SILU ? -x : T(-2) * x));
    if (base == SILU) {
        a = x * s;
        da = s * (T(1) + x * (T(1) - s));
    } else {
        a = T(2) * s - T(1);
        da = T(1) - a * a;
    }
}

} // namespace
