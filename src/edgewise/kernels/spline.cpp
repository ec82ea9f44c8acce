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
// From the numbers up: cpp/vectors.h, shape.h, functions.h (of one edge), weights.h (of a block of
// rows), order.h (the sort), panel.h, forward.h, backward.h.
//
// Each number is summed in an order that does not depend on the number of threads, so results do
// not either.
//
// The plain truth is kernels/spline.py; tests/kernels compare values and gradients in float64.
// The file is built as a C library (no Python, no torch): see hatch_build.py.

#include "cpp/backward.h"
#include "cpp/forward.h"

namespace {

// Calls with the degree and whether there is a base term, for the compiler to know. 0: done, 1: x
// holds a number that is not finite, 2: no such degree.
template <int D, class F> int with_base(int base, F call) {
    const std::integral_constant<int, D> degree;
    return base ? call(degree, std::true_type()) : call(degree, std::false_type());
}
template <class F> int with_degree(int degree, int base, F call) {
    switch (degree) {
    case 1: return with_base<1>(base, call);
    case 2: return with_base<2>(base, call);
    case 3: return with_base<3>(base, call);
    case 4: return with_base<4>(base, call);
    case 5: return with_base<5>(base, call);
    default: return 2;
    }
}
template <class T>
int forward_any(int degree, const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    return with_degree(degree, s.base, [&](auto D, auto base) {
        return int(!forward<decltype(D)::value, decltype(base)::value, T>(s, x, C, W, y, threads));
    });
}
template <class T>
int backward_any(int degree, const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW,
                 int threads) {
    return with_degree(degree, s.base, [&](auto D, auto base) {
        backward<decltype(D)::value, decltype(base)::value, T>(s, x, C, W, dy, dx, dC, dW, threads);
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
    }
#define SHAPE                                                                                                          \
    int64_t N, int64_t I, int64_t O, int64_t G, int degree, double low, double per_unit, const double *knots,          \
        int64_t knot_rows, int base, int threads
#define MADE                                                                                                           \
    Shape { N, I, O, G, G + degree, low, per_unit, knots, knot_rows, base }

extern "C" {
ENTRIES(float)
ENTRIES(double)
}
