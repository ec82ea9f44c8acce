// B-spline layers on a CPU, touching only the functions that are not zero.
//
//   y[n, o] = sum_i ( a(x[n, i]) W[i, o] + sum_j w[n, i, j] C[cell(n, i) + j, i, o] ),   j = 0 .. D
//
// Of the K functions of an edge only D + 1 are not zero at x, so the arithmetic does not grow with
// the grid. C is [K, I, O]; the base term a(x) W goes along as one function more. For a few inputs at a time the rows of a block are sorted by cell; then,
// tile of outputs by tile, the rows of a cell go past while its D + 1 rows of coefficients (forward,
// dx) or their sums (dC) stay in registers. Each number is summed in an order that does not depend
// on the number of threads, so results do not either.
//
// The plain truth is kernels/spline.py; tests/kernels compare values and gradients in float64.
// The file is built as a C library (no Python, no torch): see hatch_build.py.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t VECTOR_BYTES = 32; // AVX2, or two registers of NEON
constexpr int64_t INPUTS = 8;        // inputs whose cells and weights are found at once

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int64_t size = VECTOR_BYTES / int64_t(sizeof(T));
};
template <class T> using V = typename Vector<T>::type;
template <class T> struct Eight {
    typedef T type __attribute__((vector_size(INPUTS * sizeof(T))));
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

// Outputs of a tile: the D + 1 rows of coefficients of a cell fit into registers.
constexpr int VECTORS = 2;
template <class T> constexpr int64_t TILE = VECTORS * Vector<T>::size;

// Rows of a block: a tile of them stays in the second cache, and a cell holds several of them.
inline int64_t rows_of(const Shape &s) { return s.K > 32 ? 1024 : 512; }

// Where x lies on equal cells, found in double precision: the cell, the local coordinate in [0, 1]
// and how far x lies beyond the ends. Four numbers at once: compilers fall back to single numbers
// where a comparison is wider than the machine.
template <class T> inline void place(const Shape &s, const T *x, int32_t *cell, T *t, T *beyond) {
    using Numbers = typename Four<T>::type;
    using Doubles = typename Four<double>::type;
    using Whole = typename Four<int32_t>::type;
    const Doubles u = (__builtin_convertvector(load<Numbers>(x), Doubles) - s.low) * s.per_unit;
    const Doubles zero = {}, end = zero + double(s.G);
    Doubles inside = u > zero ? u : zero; // also where u is NaN
    inside = inside < end ? inside : end;
    const Whole whole = __builtin_convertvector(inside, Whole), last = Whole{} + int32_t(s.G - 1);
    const Whole within = whole < last ? whole : last;
    store(cell, within);
    store(t, __builtin_convertvector(inside - __builtin_convertvector(within, Doubles), Numbers));
    store(beyond, __builtin_convertvector(u - inside, Numbers));
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
    for (int64_t i = 0; i < INPUTS; ++i) x[i] = std::exp(x[i]);
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

// One input's rows of a block in the order of their cells.
template <int D, class T> struct Order {
    static constexpr int M = D + 2; // the functions of a cell, and the base
    std::vector<int32_t> begin, next; // begin[g]: where the rows of cell g begin
    std::vector<int32_t> cells;       // those that hold a row
    std::vector<int32_t> row;
    Room<T> x_room, t_room, beyond_room, w_room, dw_room;
    T *x, *t, *beyond; // as place() takes and gives them
    T *w, *dw;         // [M, apart]: the weights, and their derivatives in x
    int64_t apart;     // rows, rounded up

    // Of row n, cell, x, t and beyond lie at n * INPUTS.
    void sort(int64_t G, int64_t rows, const int32_t *cell, const T *from_x, const T *from_t, const T *from_beyond) {
        apart = rounds(rows, INPUTS) * INPUTS;
        begin.assign(G + 1, 0);
        cells.clear();
        row.resize(rows);
        x = x_room.of(apart);
        t = t_room.of(apart);
        beyond = beyond_room.of(apart);
        for (int64_t n = 0; n < rows; ++n) ++begin[cell[n * INPUTS] + 1];
        for (int64_t g = 0; g < G; ++g) {
            if (begin[g + 1]) cells.push_back(int32_t(g));
            begin[g + 1] += begin[g];
        }
        next.assign(begin.begin(), begin.end() - 1);
        for (int64_t n = 0; n < rows; ++n) {
            const int64_t to = next[cell[n * INPUTS]]++;
            row[to] = int32_t(n);
            x[to] = from_x[n * INPUTS];
            t[to] = from_t[n * INPUTS];
            beyond[to] = from_beyond[n * INPUTS];
        }
    }

    void weigh(const Shape &s, int64_t i, bool slopes) {
        w = w_room.of(M * apart);
        dw = slopes ? dw_room.of(M * apart) : nullptr;
        if (s.knots) {
            const double *tau = s.knots + (s.knot_rows > 1 ? i * (s.G + 1 + 2 * D) : 0);
            for (const int32_t cell : cells)
                for (int32_t at = begin[cell]; at < begin[cell + 1]; ++at)
                    uneven_weights<D, T>(s, tau, cell, x[at], apart, w + at, dw ? dw + at : nullptr);
        }
        for (int64_t at = 0; at < apart; at += INPUTS) {
            E<T> value[M], slope[M];
            if (!s.knots)
                uniform_weights<D, T>(load<E<T>>(t + at), load<E<T>>(beyond + at), T(s.per_unit), value, slope);
            if (s.base) activate<T>(s.base, load<E<T>>(x + at), value[D + 1], slope[D + 1]);
            for (int j = s.knots ? D + 1 : 0; j < (s.base ? M : D + 1); ++j) {
                store(w + j * apart + at, value[j]);
                if (dw) store(dw + j * apart + at, slope[j]);
            }
        }
    }
};

// The rows of a block for a few inputs.
template <int D, class T> class Block {
    std::vector<int32_t> cells;
    Room<T> x_room, t_room, beyond_room;

  public:
    Order<D, T> of[INPUTS];

    // Inputs [i0, i0 + inputs) of rows [n0, n0 + rows); false where a number is not finite.
    bool fill(const Shape &s, const T *x, int64_t n0, int64_t rows, int64_t i0, int64_t inputs, bool slopes) {
        cells.resize(rows * INPUTS);
        T *held = x_room.of(rows * INPUTS), *t = t_room.of(rows * INPUTS), *beyond = beyond_room.of(rows * INPUTS);
        E<T> bad = {};
        for (int64_t n = 0; n < rows; ++n) {
            T *numbers = held + n * INPUTS;
            for (int64_t i = 0; i < INPUTS; ++i) numbers[i] = i < inputs ? x[(n0 + n) * s.I + i0 + i] : T(0);
            const E<T> at = load<E<T>>(numbers);
            bad += at - at; // 0, or NaN where x is infinite or NaN
            if (s.knots) {
                for (int64_t i = 0; i < inputs; ++i) {
                    const int64_t size = s.G + 1 + 2 * D, first = s.knot_rows > 1 ? (i0 + i) * size : 0;
                    cells[n * INPUTS + i] = uneven_cell(s, s.knots + first + D, numbers[i]);
                }
                continue;
            }
            for (int64_t i = 0; i < INPUTS; i += 4)
                place(s, numbers + i, &cells[n * INPUTS + i], t + n * INPUTS + i, beyond + n * INPUTS + i);
        }
        for (int64_t i = 0; i < inputs; ++i) {
            of[i].sort(s.G, rows, &cells[i], held + i, t + i, beyond + i);
            of[i].weigh(s, i0 + i, slopes);
        }
        T sum = 0;
        for (int64_t i = 0; i < INPUTS; ++i) sum += bad[i];
        return sum == 0;
    }
};

// A tile of one row of C; zeros beyond O.
template <class T> inline void take(const T *from, int64_t width, V<T> *to) {
    T edge[TILE<T>] = {};
    if (width < TILE<T>) {
        std::memcpy(edge, from, width * sizeof(T));
        from = edge;
    }
    for (int v = 0; v < VECTORS; ++v) to[v] = load<V<T>>(from + v * Vector<T>::size);
}

// A tile of one row of C, written or added to.
template <class T> inline void give(T *to, int64_t width, const V<T> *from, bool first) {
    T edge[TILE<T>];
    for (int v = 0; v < VECTORS; ++v) store(edge + v * Vector<T>::size, from[v]);
    if (width == TILE<T> && first) {
        std::memcpy(to, edge, sizeof edge);
        return;
    }
    for (int64_t o = 0; o < width; ++o) to[o] = first ? edge[o] : to[o] + edge[o];
}

// y [rows, TILE] of one input and a tile of outputs.
template <int D, bool BASE, class T>
void forward_walk(const Shape &s, const T *C, const T *W, int64_t i, int64_t o0, const Order<D, T> &order, T *y) {
    constexpr int M = D + 1 + BASE, NV = VECTORS;
    const int64_t width = smaller(TILE<T>, s.O - o0);
    V<T> c[M][NV];
    if (BASE) take(W + i * s.O + o0, width, c[M - 1]);
    for (const int32_t cell : order.cells) {
        for (int j = 0; j <= D; ++j) take(C + ((cell + j) * s.I + i) * s.O + o0, width, c[j]);
        const int32_t *row = order.row.data() + order.begin[cell], *end = order.row.data() + order.begin[cell + 1];
        for (const T *w = order.w + order.begin[cell]; row < end; ++row, ++w) {
            T *to = y + *row * TILE<T>;
            V<T> sum[NV];
            for (int v = 0; v < NV; ++v) sum[v] = load<V<T>>(to + v * Vector<T>::size);
            for (int j = 0; j < M; ++j)
                for (int v = 0; v < NV; ++v) sum[v] += c[j][v] * w[j * order.apart];
            for (int v = 0; v < NV; ++v) store(to + v * Vector<T>::size, sum[v]);
        }
    }
}

// part [rows, one vector], whose sum is dx: sum_o dy[n, o] sum_j dw_j C[cell + j, i, o].
template <int D, bool BASE, class T>
void inputs_walk(const Shape &s, const T *C, const T *W, int64_t i, int64_t o0, const Order<D, T> &order, const T *dy,
                 T *part) {
    constexpr int M = D + 1 + BASE, NV = VECTORS;
    const int64_t width = smaller(TILE<T>, s.O - o0);
    V<T> c[M][NV];
    if (BASE) take(W + i * s.O + o0, width, c[M - 1]);
    for (const int32_t cell : order.cells) {
        for (int j = 0; j <= D; ++j) take(C + ((cell + j) * s.I + i) * s.O + o0, width, c[j]);
        const int32_t *row = order.row.data() + order.begin[cell], *end = order.row.data() + order.begin[cell + 1];
        for (const T *dw = order.dw + order.begin[cell]; row < end; ++row, ++dw) {
            const T *g = dy + *row * TILE<T>;
            V<T> slope[NV], sum = load<V<T>>(part + *row * Vector<T>::size);
            for (int v = 0; v < NV; ++v) slope[v] = c[0][v] * dw[0];
            for (int j = 1; j < M; ++j)
                for (int v = 0; v < NV; ++v) slope[v] += c[j][v] * dw[j * order.apart];
            for (int v = 0; v < NV; ++v) sum += slope[v] * load<V<T>>(g + v * Vector<T>::size);
            store(part + *row * Vector<T>::size, sum);
        }
    }
}

// dC[k, i, o] += sum_n w dy over a block's rows; the sums move up by one function from cell to cell.
template <int D, bool BASE, class T>
void coefficients_walk(const Shape &s, T *dC, T *dW, int64_t i, int64_t o0, const Order<D, T> &order, const T *dy,
                       bool first) {
    constexpr int M = D + 1 + BASE, NV = VECTORS;
    const int64_t width = smaller(TILE<T>, s.O - o0);
    V<T> sum[M][NV] = {};
    for (int64_t cell = 0; cell < s.G; ++cell) {
        const int32_t *row = order.row.data() + order.begin[cell], *end = order.row.data() + order.begin[cell + 1];
        for (const T *w = order.w + order.begin[cell]; row < end; ++row, ++w) {
            const T *g = dy + *row * TILE<T>;
            for (int v = 0; v < NV; ++v) {
                const V<T> part = load<V<T>>(g + v * Vector<T>::size);
                for (int j = 0; j < M; ++j) sum[j][v] += part * w[j * order.apart];
            }
        }
        give(dC + (cell * s.I + i) * s.O + o0, width, sum[0], first);
        for (int j = 0; j < D; ++j)
            for (int v = 0; v < NV; ++v) sum[j][v] = sum[j + 1][v];
        for (int v = 0; v < NV; ++v) sum[D][v] = V<T>{};
    }
    for (int j = 0; j < D; ++j) give(dC + ((s.G + j) * s.I + i) * s.O + o0, width, sum[j], first);
    if (BASE) give(dW + i * s.O + o0, width, sum[M - 1], first);
}

// [rows, O] cut into tiles, [tiles, rows, TILE], with zeros beyond O; and back.
template <class T> void cut(const Shape &s, const T *from, int64_t rows, int64_t o0, T *to) {
    const int64_t width = smaller(TILE<T>, s.O - o0);
    for (int64_t n = 0; n < rows; ++n, to += TILE<T>) {
        std::memcpy(to, from + n * s.O + o0, width * sizeof(T));
        for (int64_t o = width; o < TILE<T>; ++o) to[o] = 0;
    }
}
template <class T> void join(const Shape &s, const T *from, int64_t rows, int64_t o0, T *to) {
    const int64_t width = smaller(TILE<T>, s.O - o0);
    for (int64_t n = 0; n < rows; ++n, from += TILE<T>) std::memcpy(to + n * s.O + o0, from, width * sizeof(T));
}

// Rows are cut as finely as there are threads, and outputs where there are not rows enough.
template <int D, bool BASE, class T>
bool forward(const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    const int64_t tiles = rounds(s.O, TILE<T>);
    const int64_t most = smaller(rows_of(s), rounds(s.N, threads)), blocks = rounds(s.N, most);
    const int64_t ranges = smaller(tiles, rounds(threads, blocks));
    int bad = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(| : bad)
    {
        Block<D, T> block;
        // Kept from call to call: fresh memory costs a page fault for every 4 KiB.
        static thread_local Room<T> room;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < blocks * ranges; ++task) {
            const int64_t n0 = task / ranges * most, rows = smaller(most, s.N - n0), range = task % ranges;
            const int64_t a = range * tiles / ranges, b = (range + 1) * tiles / ranges;
            const int64_t size = rows * TILE<T>;
            T *sums = room.of((b - a) * size);
            std::memset(sums, 0, (b - a) * size * sizeof(T));
            for (int64_t i0 = 0; i0 < s.I; i0 += INPUTS) {
                const int64_t inputs = smaller(INPUTS, s.I - i0);
                bad |= !block.fill(s, x, n0, rows, i0, inputs, false);
                for (int64_t t = a; t < b; ++t)
                    for (int64_t i = 0; i < inputs; ++i)
                        forward_walk<D, BASE, T>(s, C, W, i0 + i, t * TILE<T>, block.of[i], sums + (t - a) * size);
            }
            for (int64_t t = a; t < b; ++t) join(s, sums + (t - a) * size, rows, t * TILE<T>, y + n0 * s.O);
        }
    }
    return !bad;
}

// Inputs are independent of each other; dx may be null, or dC and dW.
template <int D, bool BASE, class T>
void backward(const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW, int threads) {
    constexpr int64_t VL = Vector<T>::size;
    const int64_t tiles = rounds(s.O, TILE<T>), most = smaller(rows_of(s), s.N);
    const int64_t few = smaller(INPUTS, rounds(s.I, threads));
    static thread_local Room<T> strips;
    T *cut_dy = strips.of(tiles * most * TILE<T>);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        Block<D, T> block;
        static thread_local Room<T> room;
        for (int64_t n0 = 0; n0 < s.N; n0 += most) {
            const int64_t rows = smaller(most, s.N - n0), size = rows * TILE<T>;
#pragma omp for
            for (int64_t t = 0; t < tiles; ++t) cut(s, dy + n0 * s.O, rows, t * TILE<T>, cut_dy + t * size);
#pragma omp for schedule(dynamic)
            for (int64_t i0 = 0; i0 < s.I; i0 += few) {
                const int64_t inputs = smaller(few, s.I - i0);
                block.fill(s, x, n0, rows, i0, inputs, dx);
                T *parts = room.of(dx ? inputs * rows * VL : 0);
                if (dx) std::memset(parts, 0, inputs * rows * VL * sizeof(T));
                for (int64_t t = 0; t < tiles; ++t)
                    for (int64_t i = 0; i < inputs; ++i) {
                        const T *g = cut_dy + t * size;
                        const int64_t o0 = t * TILE<T>;
                        if (dC) coefficients_walk<D, BASE, T>(s, dC, dW, i0 + i, o0, block.of[i], g, n0 == 0);
                        if (dx) inputs_walk<D, BASE, T>(s, C, W, i0 + i, o0, block.of[i], g, parts + i * rows * VL);
                    }
                for (int64_t i = 0; dx && i < inputs; ++i)
                    for (int64_t n = 0; n < rows; ++n) {
                        const T *part = parts + (i * rows + n) * VL;
                        T sum = 0;
                        for (int64_t v = 0; v < VL; ++v) sum += part[v];
                        dx[(n0 + n) * s.I + i0 + i] = sum;
                    }
            }
        }
    }
}

// 0: done, 1: x holds a number that is not finite, 2: no such degree.
template <int D, class T>
int forward_any(const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    return !(s.base ? forward<D, true, T>(s, x, C, W, y, threads) : forward<D, false, T>(s, x, C, W, y, threads));
}
template <class T>
int forward_by_degree(int degree, const Shape &s, const T *x, const T *C, const T *W, T *y, int threads) {
    switch (degree) {
    case 1: return forward_any<1, T>(s, x, C, W, y, threads);
    case 2: return forward_any<2, T>(s, x, C, W, y, threads);
    case 3: return forward_any<3, T>(s, x, C, W, y, threads);
    case 4: return forward_any<4, T>(s, x, C, W, y, threads);
    case 5: return forward_any<5, T>(s, x, C, W, y, threads);
    default: return 2;
    }
}

template <int D, class T>
int backward_any(const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC, T *dW, int threads) {
    if (s.base)
        backward<D, true, T>(s, x, C, W, dy, dx, dC, dW, threads);
    else
        backward<D, false, T>(s, x, C, W, dy, dx, dC, dW, threads);
    return 0;
}
template <class T>
int backward_by_degree(int degree, const Shape &s, const T *x, const T *C, const T *W, const T *dy, T *dx, T *dC,
                       T *dW, int threads) {
    switch (degree) {
    case 1: return backward_any<1, T>(s, x, C, W, dy, dx, dC, dW, threads);
    case 2: return backward_any<2, T>(s, x, C, W, dy, dx, dC, dW, threads);
    case 3: return backward_any<3, T>(s, x, C, W, dy, dx, dC, dW, threads);
    case 4: return backward_any<4, T>(s, x, C, W, dy, dx, dC, dW, threads);
    case 5: return backward_any<5, T>(s, x, C, W, dy, dx, dC, dW, threads);
    default: return 2;
    }
}

} // namespace

#define ARGUMENTS                                                                                                      \
    int64_t N, int64_t I, int64_t O, int64_t G, int degree, double low, double per_unit, const double *knots,          \
        int64_t knot_rows, int base, int threads
#define SHAPE                                                                                                          \
    const Shape s { N, I, O, G, G + degree, low, per_unit, knots, knot_rows, base }

extern "C" {
int edgewise_spline_forward_float(const float *x, const float *C, const float *W, float *y, ARGUMENTS) {
    SHAPE;
    return forward_by_degree<float>(degree, s, x, C, W, y, threads);
}
int edgewise_spline_forward_double(const double *x, const double *C, const double *W, double *y, ARGUMENTS) {
    SHAPE;
    return forward_by_degree<double>(degree, s, x, C, W, y, threads);
}
int edgewise_spline_backward_float(const float *x, const float *C, const float *W, const float *dy, float *dx,
                                   float *dC, float *dW, ARGUMENTS) {
    SHAPE;
    return backward_by_degree<float>(degree, s, x, C, W, dy, dx, dC, dW, threads);
}
int edgewise_spline_backward_double(const double *x, const double *C, const double *W, const double *dy, double *dx,
                                    double *dC, double *dW, ARGUMENTS) {
    SHAPE;
    return backward_by_degree<double>(degree, s, x, C, W, dy, dx, dC, dW, threads);
}
}
