// B-spline layers on a CPU, touching only the functions that are not zero.
//
//   y[n, o] = sum_i ( a(x[n, i]) W[i, o] + sum_j w[n, i, j] C[cell(n, i) + j, i, o] ),   j = 0 .. D
//
// Of the K functions of an edge only D + 1 are not zero at x, so the arithmetic does not grow with
// the grid. C is [K, I, O]; the base term a(x) W goes along as one function more. Weights are found
// for a block of rows and a few inputs at a time. Then
//
//   y, dx  go row by row with their sums in registers, and gather from a panel: the coefficients of
//          those inputs and a tile of outputs, packed so that they stay in the first cache;
//   dC     goes input by input and cell by cell with the D + 1 rows of sums in registers, over the
//          rows sorted by cell: so each row of dC is written once in a block.
//
// Convolutions have a product of their own and want the functions only: maps.h makes them, side by
// side with their zeros, and takes gradients back through them; polynomials.h does it for
// Chebyshev's polynomials.
//
// Beside the functions there is what Mamba does along a sequence: the selective scan (scan.h) and a
// convolution with the steps before (causal_convolution.h). As operations of torch these are some
// dozen walks through memory with little arithmetic, here one.
//
// From the numbers up: cpp/vectors.h, shape.h, functions.h (of one edge), weights.h (of a block of
// rows), order.h (the sort), panel.h, forward.h, backward.h; and maps.h, polynomials.h, scan.h and
// causal_convolution.h on functions.h.
//
// Each number is summed in an order that does not depend on the number of threads, so results do
// not either.
//
// The plain truth is kernels/spline.py and layers/scan.py; tests/kernels compare values and gradients
// in float64.
// The file is built as a C library (no Python, no torch): see hatch_build.py.

#include "cpp/backward.h"
#include "cpp/causal_convolution.h"
#include "cpp/forward.h"
#include "cpp/polynomials.h"
#include "cpp/scan.h"

namespace {

// Calls with the degree, and with whether there is a base term, for the compiler to know. 0: done,
// 1: x holds a number that is not finite, 2: no such degree.
template <class F> int with_degree(int degree, F call) {
    switch (degree) {
    case 1: return call(std::integral_constant<int, 1>());
    case 2: return call(std::integral_constant<int, 2>());
    case 3: return call(std::integral_constant<int, 3>());
    case 4: return call(std::integral_constant<int, 4>());
    case 5: return call(std::integral_constant<int, 5>());
    default: return 2;
    }
}
template <class F> int with_base(int degree, int base, F call) {
    return with_degree(degree, [&](auto D) { return base ? call(D, std::true_type()) : call(D, std::false_type()); });
}
template <class T>
int forward_any(int degree, const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    return with_base(degree, s.base, [&](auto D, auto base) {
        return int(!forward<decltype(D)::value, decltype(base)::value, T>(s, x, C, W, y, threads));
    });
}
template <class T>
int backward_any(int degree, const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW,
                 int threads) {
    return with_base(degree, s.base, [&](auto D, auto base) {
        backward<decltype(D)::value, decltype(base)::value, T>(s, x, C, W, dy, dx, dC, dW, threads);
        return 0;
    });
}
template <class T>
int maps_any(int degree, const Shape &s, const Maps &m, const T *x, T *out, int threads) {
    return with_degree(degree, [&](auto D) {
        maps<decltype(D)::value, T>(s, m, x, out, threads);
        return 0;
    });
}
template <class T>
int maps_back_any(int degree, const Shape &s, const Maps &m, const T *x, const T *dout, T *dx, int threads) {
    return with_degree(degree, [&](auto D) {
        maps_back<decltype(D)::value, T>(s, m, x, dout, dx, threads);
        return 0;
    });
}

} // namespace

#define ENTRIES(T)                                                                                                     \
    int edgewise_spline_forward_##T(const T *x, const T *C, const T *W, T *y, SHAPE) {                                 \
        return forward_any(degree, MADE, x, C, W, y, threads);                                                         \
    }                                                                                                                  \
    int edgewise_spline_backward_##T(const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW, SHAPE) {    \
        return backward_any(degree, MADE, x, C, W, dy, dx, dC, dW, threads);                                           \
    }                                                                                                                  \
    int edgewise_spline_maps_##T(const T *x, T *out, MAPS) {                                                           \
        return maps_any(degree, GRID, PLACES, x, out, threads);                                                        \
    }                                                                                                                  \
    int edgewise_spline_maps_back_##T(const T *x, const T *dout, T *dx, MAPS) {                                        \
        return maps_back_any(degree, GRID, PLACES, x, dout, dx, threads);                                              \
    }                                                                                                                  \
    int edgewise_polynomial_maps_##T(const T *x, T *out, WALK, POLYNOMIALS) {                                          \
        polynomial_maps(Polynomials<T>{first, degree, T(middle), T(per_unit)}, PLACES, x, out, threads);               \
        return 0;                                                                                                      \
    }                                                                                                                  \
    int edgewise_polynomial_maps_back_##T(const T *x, const T *dout, T *dx, WALK, POLYNOMIALS) {                       \
        polynomial_maps_back(Polynomials<T>{first, degree, T(middle), T(per_unit)}, PLACES, x, dout, dx, threads);     \
        return 0;                                                                                                      \
    }                                                                                                                  \
    int edgewise_scan_##T(const T *x, const T *delta, const T *A, const T *B, const T *C, const T *state, T *y,        \
                          T *last, STEPS) {                                                                            \
        scan(Steps{S, L, H, P, N}, x, delta, A, B, C, state, y, last, threads);                                        \
        return 0;                                                                                                      \
    }                                                                                                                  \
    int edgewise_scan_back_##T(const T *x, const T *delta, const T *A, const T *B, const T *C, const T *state,         \
                               const T *dy, const T *dlast, T *dx, T *ddelta, T *dA, T *dB, T *dC, T *dstate, STEPS) { \
        scan_back(Steps{S, L, H, P, N}, x, delta, A, B, C, state, dy, dlast, dx, ddelta, dA, dB, dC, dstate, threads); \
        return 0;                                                                                                      \
    }                                                                                                                  \
    int edgewise_causal_convolution_##T(const T *x, const T *w, const T *b, T *y, WINDOW) {                            \
        causal_convolution(Window{S, L, C, width}, x, w, b, y, threads);                                               \
        return 0;                                                                                                      \
    }                                                                                                                  \
    int edgewise_causal_convolution_back_##T(const T *x, const T *w, const T *b, const T *dy, T *dx, T *dw, T *db,     \
                                             WINDOW) {                                                                 \
        causal_convolution_back(Window{S, L, C, width}, x, w, b, dy, dx, dw, db, threads);                             \
        return 0;                                                                                                      \
    }
#define STEPS int64_t S, int64_t L, int64_t H, int64_t P, int64_t N, int threads
#define WINDOW int64_t S, int64_t L, int64_t C, int64_t width, int threads
#define SHAPE                                                                                                          \
    int64_t N, int64_t I, int64_t O, int64_t G, int degree, double low, double per_unit, const double *knots,          \
        int64_t knot_rows, int base, int threads
#define MADE                                                                                                           \
    Shape { N, I, O, G, G + degree, low, per_unit, knots, knot_rows, base }
#define WALK int64_t N, int64_t C, int64_t P, int64_t image, int64_t channel, int64_t map, int64_t pixel
#define PLACES                                                                                                         \
    Maps { N, C, P, image, channel, map, pixel }
#define MAPS WALK, int64_t G, int degree, double low, double per_unit, int threads
#define POLYNOMIALS int first, int degree, double middle, double per_unit, int threads
#define GRID                                                                                                           \
    Shape { N, C, P, G, G + degree, low, per_unit, nullptr, 0, NONE }

extern "C" {
ENTRIES(float)
ENTRIES(double)
}
