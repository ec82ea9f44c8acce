// Chebyshev's polynomials of tanh u at every pixel of every channel, as maps, and the way back.

#pragma once

#include "maps.h"

namespace {

// T_first .. T_degree of t = tanh u, u = (x - middle) per_unit.
template <class T> struct Polynomials {
    int64_t first, degree;
    T middle, per_unit;
};

// t = tanh u and dt / du at the next `count` numbers of x.
template <class T> void squash(const Polynomials<T> &f, const T *x, int64_t count, V<T> &t, V<T> &slope) {
    const V<T> u = (load_few(x, count) - f.middle) * f.per_unit;
    activate<T>(TANH, u, t, slope);
    t = u == u ? t : u; // the exponential of what is no number is one
    slope = u == u ? slope : u;
}

// T_{n+1} = 2 t T_n - T_{n-1}
template <class T>
void polynomial_walk(const Polynomials<T> &f, const Maps &m, const T *x, T *to) {
    constexpr int64_t VL = Vector<T>::size;
    for (int64_t p = 0; p < m.P; p += VL, to += VL * m.pixel) {
        const int64_t count = smaller(VL, m.P - p);
        V<T> t, slope;
        squash(f, x + p, count, t, slope);
        V<T> here = t - t + T(1), next = t;
        for (int64_t n = 0; n <= f.degree; ++n) {
            T lanes[VL];
            store(lanes, here);
            if (n >= f.first)
                for (int64_t l = 0; l < count; ++l) to[l * m.pixel + (n - f.first) * m.map] = lanes[l];
            const V<T> after = T(2) * t * next - here;
            here = next, next = after;
        }
    }
}

// dx = per_unit (1 - t^2) sum_n n U_{n-1} dmap_n, with U_{n+1} = 2 t U_n - U_{n-1}: T_n' = n U_{n-1}
template <class T>
void polynomial_back_walk(const Polynomials<T> &f, const Maps &m, const T *x, const T *from, T *dx) {
    constexpr int64_t VL = Vector<T>::size;
    for (int64_t p = 0; p < m.P; p += VL, from += VL * m.pixel) {
        const int64_t count = smaller(VL, m.P - p);
        V<T> t, slope;
        squash(f, x + p, count, t, slope);
        V<T> below = {}, here = t - t + T(1), sum = {};
        for (int64_t n = 1; n <= f.degree; ++n) {
            T lanes[VL] = {};
            for (int64_t l = 0; l < count; ++l) lanes[l] = from[l * m.pixel + (n - f.first) * m.map];
            sum += T(n) * here * load<V<T>>(lanes);
            const V<T> after = T(2) * t * here - below;
            below = here, here = after;
        }
        sum *= f.per_unit * slope;
        std::memcpy(dx + p, &sum, count * sizeof(T));
    }
}

template <class T>
void polynomial_maps(const Polynomials<T> &f, const Maps &m, const T *x, T *out, int threads) {
    each_row(m, threads, [&](int64_t at, int64_t map) { polynomial_walk(f, m, x + at, out + map); });
}

template <class T>
void polynomial_maps_back(const Polynomials<T> &f, const Maps &m, const T *x, const T *dout, T *dx, int threads) {
    each_row(m, threads, [&](int64_t at, int64_t map) { polynomial_back_walk(f, m, x + at, dout + map, dx + at); });
}

} // namespace
