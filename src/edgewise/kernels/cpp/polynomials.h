// Chebyshev's polynomials of tanh u at every pixel of every channel, as maps, and the way back.

#pragma once

#include "maps.h"

namespace {

// T_first .. T_degree of t = tanh u, u = (x - middle) per_unit.
template <class T> struct Polynomials {
    int64_t first, degree;
    T middle, per_unit;
};

// tanh u at the next `count` numbers of x; the rest are zeros.
template <class T> V<T> squashed(const Polynomials<T> &f, const T *x, int64_t count) {
    T few[Vector<T>::size] = {};
    std::memcpy(few, x, count * sizeof(T));
    const V<T> u = (load<V<T>>(few) - f.middle) * f.per_unit;
    const V<T> t = T(2) / (T(1) + exponential(T(-2) * u)) - T(1);
    return u == u ? t : u; // the exponential of what is no number is one
}

// T_{n+1} = 2 t T_n - T_{n-1}
template <class T>
void polynomial_walk(const Polynomials<T> &f, const Maps &m, const T *x, T *to) {
    constexpr int64_t VL = Vector<T>::size;
    for (int64_t p = 0; p < m.P; p += VL, to += VL * m.pixel) {
        const int64_t count = smaller(VL, m.P - p);
        const V<T> t = squashed(f, x + p, count);
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
        const V<T> t = squashed(f, x + p, count);
        V<T> below = {}, here = t - t + T(1), sum = {};
        for (int64_t n = 1; n <= f.degree; ++n) {
            T lanes[VL] = {};
            for (int64_t l = 0; l < count; ++l) lanes[l] = from[l * m.pixel + (n - f.first) * m.map];
            sum += T(n) * here * load<V<T>>(lanes);
            const V<T> after = T(2) * t * here - below;
            below = here, here = after;
        }
        sum *= f.per_unit * (T(1) - t * t);
        std::memcpy(dx + p, &sum, count * sizeof(T));
    }
}

template <class T>
void polynomial_maps(const Polynomials<T> &f, const Maps &m, const T *x, T *out, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < m.N * m.C; ++row) polynomial_walk(f, m, x + row * m.P, out + m.begin(row));
}

template <class T>
void polynomial_maps_back(const Polynomials<T> &f, const Maps &m, const T *x, const T *dout, T *dx, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < m.N * m.C; ++row)
        polynomial_back_walk(f, m, x + row * m.P, dout + m.begin(row), dx + row * m.P);
}

} // namespace
