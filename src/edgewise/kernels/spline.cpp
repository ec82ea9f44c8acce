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
// Each number is summed in an order that does not depend on the number of threads, so results do
// not either.
//
// The plain truth is kernels/spline.py; tests/kernels compare values and gradients in float64.
// The file is built as a C library (no Python, no torch): see hatch_build.py.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

constexpr int64_t VECTOR_BYTES = 32; // AVX2, or two registers of NEON
constexpr int64_t GROUP = 8;         // inputs whose weights are held at once
constexpr int64_t ROWS = 8;          // rows whose weights are found at once

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int64_t size = VECTOR_BYTES / int64_t(sizeof(T));
};
template <class T> using V = typename Vector<T>::type;
template <class T> struct Eight {
    typedef T type __attribute__((vector_size(ROWS * sizeof(T))));
};
template <class T> using E = typename Eight<T>::type;
template <class T> struct Four {
    typedef T type __attribute__((vector_size(4 * sizeof(T))));
};

template <class To, class T> inline To load(const T *p) {
    To v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class From, class T> inline void store(T *p, From v) { std::memcpy(p, &v, sizeof v); }

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t rounds(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Room that begins where a cache line does: a vector across two lines costs two loads.
template <class T> class Room {
    std::vector<T> memory;

  public:
    T *of(int64_t count) {
        constexpr size_t line = 64;
        if (memory.size() < count + line / sizeof(T)) memory.resize(count + line / sizeof(T));
        const auto address = reinterpret_cast<uintptr_t>(memory.data());
        return memory.data() + (line - address % line) % line / sizeof(T);
    }
};

// What a call is about: x [N, I], C [K, I, O], and knots [knot_rows, G + 1 + 2 D] or none for G
// equal cells of [low, low + G / per_unit].
struct Shape {
    int64_t N, I, O, G, K;
    double low, per_unit;
    const double *knots;
    int64_t knot_rows;
    int base;
};

enum Base { NONE = 0, SILU = 1, TANH = 2, IDENTITY = 3 };

// Outputs of a tile of y, whose sums fill half the registers, and of a strip of dy, where the D + 1
// rows of sums of dC do so.
constexpr int WIDEST = 8;
template <class T> constexpr int64_t TILE = WIDEST * Vector<T>::size;
constexpr int NARROW = 2;
template <class T> constexpr int64_t STRIP = NARROW * Vector<T>::size;

// Rows of a block, so that a panel is worth its packing; and those of dC, so that a cell holds
// several of them.
inline int64_t rows_of_y(const Shape &s) { return s.K > 64 ? 1024 : s.K > 16 ? 512 : 256; }
inline int64_t rows_of_dC(const Shape &s) { return s.K > 32 ? 1024 : 512; }

// Where x lies on equal cells, found in double precision: the cell, the local coordinate in [0, 1]
// and how far x lies beyond the ends. Four numbers at once: compilers fall back to single numbers
// where a comparison is wider than the machine.
template <class T> struct Place {
    using Numbers = typename Four<T>::type;
    using Whole = typename Four<int32_t>::type;
    Numbers t, beyond;
    Whole cell;

    Place(const Shape &s, Numbers x) {
        using Doubles = typename Four<double>::type;
        const Doubles u = (__builtin_convertvector(x, Doubles) - s.low) * s.per_unit;
        const Doubles zero = {}, end = zero + double(s.G);
        Doubles inside = u > zero ? u : zero; // also where u is NaN
        inside = inside < end ? inside : end;
        const Whole whole = __builtin_convertvector(inside, Whole), last = Whole{} + int32_t(s.G - 1);
        cell = whole < last ? whole : last;
        t = __builtin_convertvector(inside - __builtin_convertvector(cell, Doubles), Numbers);
        beyond = __builtin_convertvector(u - inside, Numbers);
    }
};
template <class T> inline E<T> both(typename Four<T>::type a, typename Four<T>::type b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}

// The weights of the D + 1 functions of a cell. With v of degree D - 1 at local coordinate t,
// w_j = ((t + D - j) v_{j-1} + (1 - t + j) v_j) / D and dw_j / dt = v_{j-1} - v_j (the recursion of
// Cox and de Boor on equal cells); beyond the ends the functions go on as straight lines.
template <int D, class T>
inline void uniform_weights(E<T> t, E<T> beyond, T per_unit, E<T> *w, E<T> *dw) {
    E<T> v[D + 1];
    v[0] = E<T>{} + T(1);
    for (int d = 1; d < D; ++d) {
        const T by = T(1) / d;
        v[d] = t * by * v[d - 1];
        for (int j = d - 1; j > 0; --j) v[j] = ((t + T(d - j)) * v[j - 1] + (T(1 + j) - t) * v[j]) * by;
        v[0] = v[0] * (T(1) - t) * by;
    }
    for (int j = 0; j <= D; ++j) {
        const E<T> below = j ? v[j ? j - 1 : 0] : E<T>{}, here = j < D ? v[j] : E<T>{};
        const E<T> slope = below - here;
        w[j] = ((t + T(D - j)) * below + (T(1 + j) - t) * here) * (T(1) / D) + beyond * slope;
        dw[j] = slope * per_unit;
    }
}

// e^x: 2^n e^r with |r| <= log(2) / 2, and e^r by its series (float: relative error below 2e-7).
inline E<float> exponential(E<float> x) {
    const E<float> top = E<float>{} + 88.0f, bottom = E<float>{} - 87.0f;
    x = x < top ? x : top;
    x = x > bottom ? x : bottom;
    const E<float> half = x > E<float>{} ? E<float>{} + 0.5f : E<float>{} - 0.5f;
    const E<int32_t> n = __builtin_convertvector(x * 1.44269504f + half, E<int32_t>);
    const E<float> whole = __builtin_convertvector(n, E<float>);
    const E<float> r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    E<float> sum = E<float>{} + 1.0f / 5040;
    for (const float term : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) sum = sum * r + term;
    const E<int32_t> power = (n + 127) << 23;
    return sum * load<E<float>>(reinterpret_cast<const float *>(&power));
}
inline E<double> exponential(E<double> x) {
    for (int64_t i = 0; i < ROWS; ++i) x[i] = std::exp(x[i]);
    return x;
}

// The base activation and its derivative.
template <class T> inline void activate(int base, E<T> x, E<T> &a, E<T> &da) {
    if (base == IDENTITY) {
        a = x;
        da = E<T>{} + T(1);
        return;
    }
    const E<T> s = T(1) / (T(1) + exponential(base == SILU ? -x : T(-2) * x));
    if (base == SILU) {
        a = x * s;
        da = s * (T(1) + x * (T(1) - s));
    } else {
        a = T(2) * s - T(1);
        da = T(1) - a * a;
    }
}

// The same on uneven knots tau [G + 1 + 2 D] of one input, whose cell begins at tau[D + cell]
// (de Boor 1978, ch. X); w and dw lie `apart` from each other.
template <int D, class T>
void uneven_weights(const Shape &s, const double *tau, int32_t cell, double x, int64_t apart, T *w, T *dw) {
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
        w[j * apart] = T(v[j] + (x - inside) * slope[j]);
        if (dw) dw[j * apart] = T(slope[j]);
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

// Cells and weights of a block of rows for a few inputs.
template <int D, bool BASE, class T> class Weights {
    static constexpr int M = D + 1 + BASE; // the functions of a cell, and the base
    std::vector<int32_t> cells;
    Room<T> x_room, w_room, dw_room;
    T *w, *dw;
    int64_t apart; // rows, rounded up

    // x of a few inputs, turned: [inputs, apart]. False where a number is not finite.
    bool turn(const T *x, int64_t I, int64_t rows, int64_t inputs, T *to) const {
        for (int64_t n = 0; n < apart; ++n) {
            const T *from = x + smaller(n, rows - 1) * I;
            if (inputs == GROUP)
                for (int64_t i = 0; i < GROUP; ++i) to[i * apart + n] = from[i];
            else
                for (int64_t i = 0; i < inputs; ++i) to[i * apart + n] = from[i];
        }
        E<T> sum = {};
        for (int64_t at = 0; at < inputs * apart; at += ROWS) {
            const E<T> held = load<E<T>>(to + at);
            sum += held - held; // 0, or NaN where x is infinite or NaN
        }
        T all = 0;
        for (int64_t n = 0; n < ROWS; ++n) all += sum[n];
        return all == 0;
    }

    template <bool SLOPES> void weigh_evenly(const Shape &s, const T *x, int32_t *cell, T *value, T *slope) const {
        using Numbers = typename Four<T>::type;
        const Shape held = s; // the compiler knows that the stores below don't change it
        for (int64_t n = 0; n < apart; n += ROWS, value += M * ROWS, slope += SLOPES ? M * ROWS : 0) {
            const Place<T> a(held, load<Numbers>(x + n)), b(held, load<Numbers>(x + n + 4));
            store(cell + n, a.cell);
            store(cell + n + 4, b.cell);
            E<T> w[M], dw[M];
            uniform_weights<D, T>(both<T>(a.t, b.t), both<T>(a.beyond, b.beyond), T(held.per_unit), w, dw);
            if (BASE) activate<T>(held.base, load<E<T>>(x + n), w[M - 1], dw[M - 1]);
            for (int j = 0; j < M; ++j) store(value + j * ROWS, w[j]);
            for (int j = 0; SLOPES && j < M; ++j) store(slope + j * ROWS, dw[j]);
        }
    }

    void weigh_unevenly(const Shape &s, int64_t i, const T *x, int32_t *cell, T *value, T *slope) const {
        const double *tau = s.knots + (s.knot_rows > 1 ? i * (s.G + 1 + 2 * D) : 0);
        for (int64_t n = 0; n < apart; ++n) {
            cell[n] = uneven_cell(s, tau + D, x[n]);
            const int64_t to = n / ROWS * M * ROWS + n % ROWS;
            uneven_weights<D, T>(s, tau, cell[n], x[n], ROWS, value + to, slope ? slope + to : nullptr);
        }
        for (int64_t n = 0; BASE && n < apart; n += ROWS) {
            E<T> w, dw;
            activate<T>(s.base, load<E<T>>(x + n), w, dw);
            store(value + n * M + (M - 1) * ROWS, w);
            if (slope) store(slope + n * M + (M - 1) * ROWS, dw);
        }
    }

  public:
    // Inputs [i0, i0 + inputs) of rows [n0, n0 + rows); false where a number is not finite.
    bool fill(const Shape &s, const T *x, int64_t n0, int64_t rows, int64_t i0, int64_t inputs, bool slopes) {
        apart = rounds(rows, ROWS) * ROWS;
        cells.resize(GROUP * apart);
        w = w_room.of(GROUP * M * apart);
        dw = slopes ? dw_room.of(GROUP * M * apart) : nullptr;
        T *held = x_room.of(GROUP * apart);
        const bool finite = turn(x + n0 * s.I + i0, s.I, rows, inputs, held);
        for (int64_t i = 0; i < inputs; ++i) {
            const T *at = held + i * apart;
            int32_t *cell = &cells[i * apart];
            T *value = w + M * i * apart, *slope = slopes ? dw + M * i * apart : nullptr;
            if (s.knots)
                weigh_unevenly(s, i0 + i, at, cell, value, slope);
            else if (slopes)
                weigh_evenly<true>(s, at, cell, value, slope);
            else
                weigh_evenly<false>(s, at, cell, value, slope);
        }
        return finite;
    }

    // Of input i: the cells of rows; and of row n the weights, or their derivatives, ROWS from each other.
    const int32_t *cell(int64_t i) const { return &cells[i * apart]; }
    const T *weight(int64_t i, int64_t n) const { return w + at(i, n); }
    const T *slope(int64_t i, int64_t n) const { return dw + at(i, n); }
    int64_t at(int64_t i, uint64_t n) const { return M * i * apart + n + (M - 1) * (n & ~uint64_t(ROWS - 1)); }
};

// The coefficients of a few inputs for a tile of outputs; the base's lie behind them.
template <class T> struct Panel {
    const T *C, *W;
    int64_t cell_apart, input_apart, base_apart;
};

// The coefficients where they are.
template <class T> Panel<T> lies(const Shape &s, const T *C, const T *W, int64_t i, int64_t o0) {
    return {C + i * s.O + o0, W ? W + i * s.O + o0 : nullptr, s.I * s.O, s.O, s.O};
}

// A copy [inputs, K + 1, width], with zeros beyond O.
template <int NV, class T>
Panel<T> packed(const Shape &s, const T *C, const T *W, int64_t i0, int64_t inputs, int64_t o0, T *to) {
    constexpr int64_t width = NV * Vector<T>::size;
    const int64_t size = (s.K + 1) * width, held = smaller(width, s.O - o0);
    for (int64_t k = 0; k < s.K + (W != nullptr); ++k)
        for (int64_t i = 0; i < inputs; ++i) {
            const T *from = (k < s.K ? C + (k * s.I + i0 + i) * s.O : W + (i0 + i) * s.O) + o0;
            T *row = to + i * size + k * width;
            if (held == width)
                for (int v = 0; v < NV; ++v) store(row + v * Vector<T>::size, load<V<T>>(from + v * Vector<T>::size));
            else
                for (int64_t o = 0; o < width; ++o) row[o] = o < held ? from[o] : T(0);
        }
    return {to, to + s.K * width, width, size, size};
}

// y [rows, width] of a group of inputs; rows are rounded up.
template <int NV, bool PACKED, int D, bool BASE, class T>
void forward_walk(const Panel<T> &panel, const Weights<D, BASE, T> &weights, int64_t inputs, int64_t rows,
                  bool first, T *y) {
    constexpr int64_t VL = Vector<T>::size;
    constexpr int AT_ONCE = WIDEST / NV; // rows: enough sums to wait for none
    const int64_t cell_apart = PACKED ? NV * VL : panel.cell_apart;
    for (int64_t n = 0; n < rows; n += AT_ONCE, y += AT_ONCE * NV * VL) {
        V<T> sum[AT_ONCE][NV];
        for (int r = 0; r < AT_ONCE; ++r)
            for (int v = 0; v < NV; ++v) sum[r][v] = first ? V<T>{} : load<V<T>>(y + (r * NV + v) * VL);
        for (int64_t i = 0; i < inputs; ++i)
            for (int r = 0; r < AT_ONCE; ++r) {
                const T *w = weights.weight(i, n + r);
                const T *c = panel.C + i * panel.input_apart + weights.cell(i)[n + r] * cell_apart;
                for (int j = 0; j <= D; ++j, c += cell_apart)
                    for (int v = 0; v < NV; ++v) sum[r][v] += load<V<T>>(c + v * VL) * w[j * ROWS];
                if (!BASE) continue;
                c = panel.W + i * panel.base_apart;
                for (int v = 0; v < NV; ++v) sum[r][v] += load<V<T>>(c + v * VL) * w[(D + 1) * ROWS];
            }
        for (int r = 0; r < AT_ONCE; ++r)
            for (int v = 0; v < NV; ++v) store(y + (r * NV + v) * VL, sum[r][v]);
    }
}

// The sums of eight vectors, beside each other.
inline void add_up(const V<float> *v, float *to) {
#define PAIRS(a, b)                                                                                                    \
    (__builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +                                                        \
     __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15))
    const V<float> a = PAIRS(v[0], v[1]), b = PAIRS(v[2], v[3]), c = PAIRS(v[4], v[5]), d = PAIRS(v[6], v[7]);
    const V<float> low = PAIRS(a, b), high = PAIRS(c, d);
    store(to, load<V<float>>(to) + __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11) +
                  __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15));
#undef PAIRS
}
inline void add_up(const V<double> *v, double *to) {
    for (int i = 0; i < GROUP; ++i) to[i] += (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
}

// dx [rows, GROUP] of a group of inputs: sum_o dy[n, o] sum_j dw_j C[cell + j, i, o]. Of dy
// come strips, `apart` from each other.
template <int NV, bool PACKED, int D, bool BASE, class T>
void inputs_walk(const Panel<T> &panel, const Weights<D, BASE, T> &weights, int64_t inputs, int64_t rows,
                 const T *dy, int64_t apart, T *dx) {
    constexpr int64_t VL = Vector<T>::size;
    const int64_t cell_apart = PACKED ? NV * VL : panel.cell_apart;
    for (int64_t n = 0; n < rows; ++n, dy += STRIP<T>, dx += GROUP) {
        V<T> g[NV], sum[GROUP] = {};
        for (int v = 0; v < NV; ++v) g[v] = load<V<T>>(dy + v / NARROW * apart + v % NARROW * VL);
        for (int64_t i = 0; i < inputs; ++i) {
            const T *dw = weights.slope(i, n), *base = BASE ? panel.W + i * panel.base_apart : nullptr;
            const T *c = panel.C + i * panel.input_apart + weights.cell(i)[n] * cell_apart;
            for (int v = 0; v < NV; ++v) {
                V<T> slope = load<V<T>>(c + v * VL) * dw[0];
                for (int j = 1; j <= D; ++j) slope += load<V<T>>(c + j * cell_apart + v * VL) * dw[j * ROWS];
                if (BASE) slope += load<V<T>>(base + v * VL) * dw[(D + 1) * ROWS];
                sum[i] += slope * g[v];
            }
        }
        add_up(sum, dx);
    }
}

// The rows of a block and their weights in the order of their cells, for each input of a group.
template <int D, bool BASE, class T> class Order {
    static constexpr int M = D + 1 + BASE;
    std::vector<int32_t> begins, next, order;
    Room<T> room;
    T *w; // [inputs, rows, M]
    int64_t cells, rows;

  public:
    void sort(const Weights<D, BASE, T> &weights, int64_t G, int64_t rows_, int64_t inputs) {
        cells = G + 1;
        rows = rows_;
        begins.assign(inputs * cells, 0);
        order.resize(inputs * rows);
        // Inputs in turns, for a count that was just written is slow to be read.
        for (int64_t n = 0; n < rows; ++n)
            for (int64_t i = 0; i < inputs; ++i) ++begins[i * cells + weights.cell(i)[n] + 1];
        for (int64_t i = 0; i < inputs; ++i)
            for (int64_t g = 0; g < G; ++g) begins[i * cells + g + 1] += begins[i * cells + g];
        next = begins;
        for (int64_t n = 0; n < rows; ++n)
            for (int64_t i = 0; i < inputs; ++i)
                order[i * rows + next[i * cells + weights.cell(i)[n]]++] = int32_t(n);
        T *to = w = room.of(inputs * rows * M);
        for (int64_t i = 0; i < inputs; ++i)
            for (int64_t at = 0; at < rows; ++at, to += M) {
                const T *from = weights.weight(i, order[i * rows + at]);
                for (int j = 0; j < M; ++j) to[j] = from[j * ROWS];
            }
    }

    // Those of cell g are from its first one to that of cell g + 1.
    int64_t begin(int64_t i, int64_t g) const { return i * rows + begins[i * cells + g]; }
    const int32_t *row(int64_t at) const { return &order[at]; }
    const T *weight(int64_t at) const { return w + at * M; }
};

// A strip of one row of C, written or added to.
template <class T> inline void give(T *to, int64_t width, const V<T> *from, bool first) {
    if (width == STRIP<T>) {
        for (int v = 0; v < NARROW; ++v, to += Vector<T>::size)
            store(to, first ? from[v] : load<V<T>>(to) + from[v]);
        return;
    }
    T edge[STRIP<T>];
    for (int v = 0; v < NARROW; ++v) store(edge + v * Vector<T>::size, from[v]);
    for (int64_t o = 0; o < width; ++o) to[o] = first ? edge[o] : to[o] + edge[o];
}

// dC[k, i, o] += sum_n w dy over a block's rows; the sums move up by one function from cell to cell.
template <int D, bool BASE, class T>
void coefficients_walk(const Shape &s, const Order<D, BASE, T> &order, int64_t i0, int64_t i, int64_t o0, const T *dy,
                       bool first, T *dC, T *dW) {
    constexpr int M = D + 1 + BASE, NV = NARROW;
    const int64_t width = smaller(STRIP<T>, s.O - o0);
    dC += (i0 + i) * s.O + o0;
    V<T> sum[M][NV] = {};
    for (int64_t cell = 0; cell < s.G; ++cell) {
        const int32_t *row = order.row(order.begin(i, cell)), *end = order.row(order.begin(i, cell + 1));
        for (const T *w = order.weight(order.begin(i, cell)); row < end; ++row, w += M) {
            const T *g = dy + *row * STRIP<T>;
            V<T> part[NV];
            for (int v = 0; v < NV; ++v) part[v] = load<V<T>>(g + v * Vector<T>::size);
            for (int j = 0; j < M; ++j)
                for (int v = 0; v < NV; ++v) sum[j][v] += part[v] * w[j];
        }
        give(dC + cell * s.I * s.O, width, sum[0], first);
        for (int j = 0; j < D; ++j)
            for (int v = 0; v < NV; ++v) sum[j][v] = sum[j + 1][v];
        for (int v = 0; v < NV; ++v) sum[D][v] = V<T>{};
    }
    for (int j = 0; j < D; ++j) give(dC + (s.G + j) * s.I * s.O, width, sum[j], first);
    if (BASE) give(dW + (i0 + i) * s.O + o0, width, sum[M - 1], first);
}

// Calls with the number of vectors that hold `width` outputs.
template <class T, class F> void with_vectors(int64_t width, F call) {
    const int64_t vectors = rounds(width, Vector<T>::size);
    if (vectors > 4) return call(std::integral_constant<int, 8>());
    if (vectors > 2) return call(std::integral_constant<int, 4>());
    if (vectors > 1) return call(std::integral_constant<int, 2>());
    call(std::integral_constant<int, 1>());
}

// Calls with the number of vectors of a tile, its panel, and whether that is a copy.
template <class T, class F>
void with_panel(const Shape &s, const T *C, const T *W, int64_t i0, int64_t inputs, int64_t o0, int64_t rows,
                Room<T> &room, F call) {
    // Few rows would not repay a copy.
    if (rows * 4 < s.K && TILE<T> <= s.O - o0)
        return call(std::integral_constant<int, WIDEST>(), std::false_type(), lies(s, C, W, i0, o0));
    T *to = room.of(inputs * (s.K + 1) * TILE<T>);
    with_vectors<T>(s.O - o0, [&](auto vectors) {
        call(vectors, std::true_type(), packed<decltype(vectors)::value>(s, C, W, i0, inputs, o0, to));
    });
}

// A tile of y put where it belongs.
template <class T> void join(const Shape &s, const T *from, int64_t rows, int64_t o0, T *to) {
    with_vectors<T>(s.O - o0, [&](auto vectors) {
        constexpr int64_t apart = decltype(vectors)::value * Vector<T>::size;
        const int64_t width = smaller(apart, s.O - o0);
        for (int64_t n = 0; n < rows; ++n) std::memcpy(to + n * s.O + o0, from + n * apart, width * sizeof(T));
    });
}

// Rows are cut as finely as there are threads, and outputs where there are not rows enough.
template <int D, bool BASE, class T>
bool forward(const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    const int64_t tiles = rounds(s.O, TILE<T>);
    const int64_t most = smaller(rows_of_y(s), rounds(s.N, threads)), blocks = rounds(s.N, most);
    const int64_t ranges = smaller(tiles, rounds(threads, blocks));
    int bad = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(| : bad)
    {
        // Kept from call to call: fresh memory costs a page fault for every 4 KiB.
        static thread_local Weights<D, BASE, T> weights;
        static thread_local Room<T> room, panels;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < blocks * ranges; ++task) {
            const int64_t n0 = task / ranges * most, rows = smaller(most, s.N - n0), range = task % ranges;
            const int64_t a = range * tiles / ranges, b = (range + 1) * tiles / ranges;
            const int64_t size = rounds(rows, ROWS) * ROWS * TILE<T>;
            T *sums = room.of((b - a) * size);
            for (int64_t i0 = 0; i0 < s.I; i0 += GROUP) {
                const int64_t inputs = smaller(GROUP, s.I - i0);
                bad |= !weights.fill(s, x, n0, rows, i0, inputs, false);
                for (int64_t t = a; t < b; ++t)
                    with_panel(s, C, W, i0, inputs, t * TILE<T>, rows, panels, [&](auto NV, auto copy, auto panel) {
                        forward_walk<decltype(NV)::value, decltype(copy)::value>(panel, weights, inputs, rows, i0 == 0,
                                                                                 sums + (t - a) * size);
                    });
            }
            for (int64_t t = a; t < b; ++t) join(s, sums + (t - a) * size, rows, t * TILE<T>, y + n0 * s.O);
        }
    }
    return !bad;
}

// A strip [rows, STRIP] of dy, with zeros beyond O.
template <class T> void cut(const Shape &s, const T *from, int64_t rows, int64_t o0, T *to) {
    const int64_t width = larger(0, smaller(STRIP<T>, s.O - o0));
    for (int64_t n = 0; n < rows; ++n, to += STRIP<T>) {
        std::memcpy(to, from + n * s.O + o0, width * sizeof(T));
        for (int64_t o = width; o < STRIP<T>; ++o) to[o] = 0;
    }
}

// Inputs are independent of each other; dx may be null, or dC and dW.
template <int D, bool BASE, class T>
void backward(const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW, int threads) {
    constexpr int64_t PER_TILE = WIDEST / NARROW;
    const int64_t tiles = rounds(s.O, TILE<T>), most = smaller(rows_of_dC(s), s.N);
    const int64_t few = smaller(GROUP, rounds(s.I, threads));
    static thread_local Room<T> strips;
    T *cut_dy = strips.of(tiles * PER_TILE * most * STRIP<T>);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        static thread_local Weights<D, BASE, T> weights;
        static thread_local Order<D, BASE, T> order;
        static thread_local Room<T> room, panels;
        for (int64_t n0 = 0; n0 < s.N; n0 += most) {
            const int64_t rows = smaller(most, s.N - n0), size = rows * STRIP<T>;
#pragma omp for
            for (int64_t t = 0; t < tiles * PER_TILE; ++t)
                cut(s, dy + n0 * s.O, rows, t * STRIP<T>, cut_dy + t * size);
#pragma omp for schedule(dynamic)
            for (int64_t i0 = 0; i0 < s.I; i0 += few) {
                const int64_t inputs = smaller(few, s.I - i0);
                weights.fill(s, x, n0, rows, i0, inputs, dx);
                if (dC) {
                    order.sort(weights, s.G, rows, inputs);
                    for (int64_t o0 = 0; o0 < s.O; o0 += STRIP<T>)
                        for (int64_t i = 0; i < inputs; ++i)
                            coefficients_walk(s, order, i0, i, o0, cut_dy + o0 / STRIP<T> * size, n0 == 0, dC, dW);
                }
                if (!dx) continue;
                T *sums = room.of(rows * GROUP);
                std::memset(sums, 0, rows * GROUP * sizeof(T));
                for (int64_t t = 0; t < tiles; ++t)
                    with_panel(s, C, W, i0, inputs, t * TILE<T>, rows, panels, [&](auto NV, auto copy, auto panel) {
                        inputs_walk<decltype(NV)::value, decltype(copy)::value>(
                            panel, weights, inputs, rows, cut_dy + t * PER_TILE * size, size, sums);
                    });
                for (int64_t n = 0; n < rows; ++n)
                    for (int64_t i = 0; i < inputs; ++i) dx[(n0 + n) * s.I + i0 + i] = sums[n * GROUP + i];
            }
        }
    }
}

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
