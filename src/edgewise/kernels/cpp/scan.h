// The selective state-space recurrence of layers/scan.py, as it is written: one step after another,
// for a vector of columns at once.
//
//   H_k = a_k H_{k-1} + u_k B_k^T,   y_k = H_k C_k,   a_k = exp(delta_k A),   u_k = delta_k x_k
//
// A column is one of the P inputs of one of the heads, so a state is [N, columns] here. On the way
// back states are found again, a stretch of steps at a time:
//
//   G_k = dy_k C_k^T + a_{k+1} G_{k+1},   du_k = G_k B_k,   da_k = sum G_k H_{k-1},
//   dB_k = G_k^T u_k,   dC_k = H_k^T dy_k.

#pragma once

#include "functions.h"

namespace {

// x [S, L, H, P], delta [S, L, H], A [H], B and C [S, L, N], states [S, H, P, N], of S sequences.
struct Steps {
    int64_t S, L, H, P, N;

    int64_t columns() const { return H * P; }
};

constexpr int64_t STRETCH = 16; // steps whose states are held at once, for them to stay in near caches

template <class T> int64_t filled(int64_t count) { return rounds(count, Vector<T>::size) * Vector<T>::size; }

// The states before and after the steps of a stretch, and what each step does to them.
template <class T> class Stretch {
    static constexpr int64_t VL = Vector<T>::size;
    const Steps s;
    const T *const A;
    Room<T> state_room, decay_room, written_room;
    T *states, *decays, *written;

    // a and u of one step, for each column.
    void spread(const T *x, const T *delta, int64_t i) {
        T *a = decays + i * width, *u = written + i * width;
        for (int64_t h0 = 0; h0 < s.H; h0 += VL) {
            const int64_t heads = smaller(VL, s.H - h0);
            const V<T> d = load_few(delta + h0, heads), power = d * load_few(A + h0, heads);
            V<T> kept = exponential(power);
            kept = power == power ? kept : power; // the exponential of what is no number is one
            for (int64_t h = 0; h < heads; ++h, a += s.P, u += s.P, x += s.P)
                for (int64_t p = 0; p < s.P; p += VL) {
                    const int64_t count = smaller(VL, s.P - p);
                    store_some(a + p, V<T>{} + kept[h], count);
                    store_some(u + p, d[h] * load_some(x + p, count), count);
                }
        }
    }

  public:
    const int64_t width, size; // of a row of columns, and of a state

    Stretch(const Steps &steps, const T *A)
        : s(steps), A(A), width(filled<T>(s.columns())), size(s.N * width) {
        states = state_room.of((STRETCH + 1) * size);
        decays = decay_room.of(STRETCH * width);
        written = written_room.of(STRETCH * width);
        std::memset(decays, 0, STRETCH * width * sizeof(T));
        std::memset(written, 0, STRETCH * width * sizeof(T));
    }

    T *before(int64_t i) { return states + i * size; }
    const T *decay(int64_t i) const { return decays + i * width; }
    const T *input(int64_t i) const { return written + i * width; }

    // The first state, from [columns, N].
    void begin(const T *state) { take(state, states); }
    void take(const T *from, T *to) const {
        std::memset(to, 0, size * sizeof(T));
        for (int64_t c = 0; c < s.columns(); ++c)
            for (int64_t n = 0; n < s.N; ++n) to[n * width + c] = *from++;
    }
    void give(const T *from, T *to) const {
        for (int64_t c = 0; c < s.columns(); ++c)
            for (int64_t n = 0; n < s.N; ++n) *to++ = from[n * width + c];
    }

    // So many steps on from the first state, which are kept, or each in place of the one before.
    // y [steps, columns], where it is asked for.
    void go(int64_t steps, bool keep, const T *x, const T *delta, const T *B, const T *C, T *y) {
        for (int64_t k = 0; k < steps; ++k, x += s.columns(), delta += s.H, B += s.N, C += s.N) {
            const int64_t i = keep ? k : 0, next = keep ? k + 1 : 0;
            spread(x, delta, i);
            for (int64_t w = 0; w < width; w += VL) {
                const V<T> a = load<V<T>>(decay(i) + w), u = load<V<T>>(input(i) + w);
                const T *from = before(i) + w;
                T *to = before(next) + w;
                V<T> sum = {};
                for (int64_t n = 0; n < s.N; ++n, from += width, to += width) {
                    const V<T> state = a * load<V<T>>(from) + u * B[n];
                    store(to, state);
                    sum += state * C[n];
                }
                if (y) store_some(y + w, sum, smaller(VL, s.columns() - w));
            }
            if (y) y += s.columns();
        }
    }
};

// One sequence.
template <class T>
void scan_one(const Steps &s, Stretch<T> &stretch, const T *x, const T *delta, const T *B, const T *C,
              const T *state, T *y, T *last) {
    stretch.begin(state);
    stretch.go(s.L, false, x, delta, B, C, y);
    stretch.give(stretch.before(0), last);
}

// Eight numbers are added up at once.
constexpr int64_t SUMS = 8;

// A vector of columns: G, and the sums over columns of what dB and dC are made of, side by side. A
// function of its own, as inlined it would find no register free.
template <class T>
__attribute__((noinline)) void columns_back(int64_t N, int64_t width, int64_t size, V<T> a, V<T> u, V<T> dy,
                                            const T *__restrict__ before, const T *__restrict__ B,
                                            const T *__restrict__ C, T *__restrict__ G, T *__restrict__ sums,
                                            T *__restrict__ du, T *__restrict__ dlog_a) {
    constexpr int64_t VL = Vector<T>::size;
    V<T> through = {}, kept = {};
    for (int64_t n = 0; n < N; ++n, before += width, G += width, sums += 2 * VL) {
        const V<T> g = load<V<T>>(G) + dy * C[n];
        through += g * B[n];
        kept += g * load<V<T>>(before);
        store(sums, load<V<T>>(sums) + g * u);
        store(sums + VL, load<V<T>>(sums + VL) + load<V<T>>(before + size) * dy);
        store(G, g * a);
    }
    store(du, through);
    store(dlog_a, kept * a);
}

// The way back through one step: G, the gradient of the state after it, becomes that of the one
// before; of u and of log a there are rows.
template <class T>
void step_back(const Steps &s, Stretch<T> &stretch, int64_t i, const T *B, const T *C, const T *dy, T *G, T *sums,
               T *du, T *dlog_a, T *dB, T *dC) {
    constexpr int64_t VL = Vector<T>::size;
    std::memset(sums, 0, 2 * rounds(s.N, SUMS) * SUMS * VL * sizeof(T));
    for (int64_t w = 0; w < stretch.width; w += VL)
        columns_back<T>(s.N, stretch.width, stretch.size, load<V<T>>(stretch.decay(i) + w),
                        load<V<T>>(stretch.input(i) + w), load_some(dy + w, smaller(VL, s.columns() - w)),
                        stretch.before(i) + w, B, C, G + w, sums, du + w, dlog_a + w);
    for (int64_t n = 0; n < s.N; n += SUMS) {
        V<T> few[2][SUMS];
        T found[2][SUMS] = {};
        for (int64_t j = 0; j < 2 * SUMS; ++j) few[j % 2][j / 2] = load<V<T>>(sums + (2 * n + j) * VL);
        for (int j = 0; j < 2; ++j) add_up(few[j], found[j]);
        std::memcpy(dB + n, found[0], smaller(SUMS, s.N - n) * sizeof(T));
        std::memcpy(dC + n, found[1], smaller(SUMS, s.N - n) * sizeof(T));
    }
}

// One sequence; dA [H] is its share.
template <class T>
void scan_back_one(const Steps &s, Stretch<T> &stretch, const T *A, const T *x, const T *delta, const T *B,
                   const T *C, const T *state, const T *dy, const T *dlast, T *dx, T *ddelta, T *dA, T *dB, T *dC,
                   T *dstate) {
    static thread_local Room<T> entry_room, G_room, sum_room, row_room;
    const int64_t size = stretch.size, width = stretch.width, stretches = rounds(s.L, STRETCH);
    T *entries = entry_room.of(stretches * size), *G = G_room.of(size);
    T *sums = sum_room.of(2 * rounds(s.N, SUMS) * SUMS * Vector<T>::size);
    T *du = row_room.of(2 * width), *dlog_a = du + width;
    const auto go = [&](int64_t e, bool keep) {
        const int64_t k = e * STRETCH, steps = smaller(STRETCH, s.L - k);
        stretch.go(steps, keep, x + k * s.columns(), delta + k * s.H, B + k * s.N, C + k * s.N, nullptr);
        return steps;
    };
    stretch.begin(state);
    for (int64_t e = 0; e < stretches; ++e) {
        std::memcpy(entries + e * size, stretch.before(0), size * sizeof(T));
        if (e + 1 < stretches) go(e, false);
    }
    stretch.take(dlast, G);
    std::memset(dA, 0, s.H * sizeof(T));
    for (int64_t e = stretches - 1; e >= 0; --e) {
        std::memcpy(stretch.before(0), entries + e * size, size * sizeof(T));
        for (int64_t i = go(e, true) - 1; i >= 0; --i) {
            const int64_t k = e * STRETCH + i, row = k * s.columns();
            step_back(s, stretch, i, B + k * s.N, C + k * s.N, dy + row, G, sums, du, dlog_a, dB + k * s.N,
                      dC + k * s.N);
            for (int64_t h = 0, c = 0; h < s.H; ++h) {
                const T step = delta[k * s.H + h];
                V<T> through = {}, kept = {};
                for (const int64_t end = c + s.P; c < end; c += Vector<T>::size) {
                    const int64_t count = smaller(Vector<T>::size, end - c);
                    const V<T> d = load_some(du + c, count);
                    through += load_some(x + row + c, count) * d;
                    kept += load_some(dlog_a + c, count);
                    store_some(dx + row + c, step * d, count);
                }
                c = (h + 1) * s.P;
                const T of_log_a = total<T>(kept);
                ddelta[k * s.H + h] = total<T>(through) + A[h] * of_log_a;
                dA[h] += step * of_log_a;
            }
        }
    }
    stretch.give(G, dstate);
}

template <class T>
void scan(const Steps &s, const T *x, const T *delta, const T *A, const T *B, const T *C, const T *state, T *y,
          T *last, int threads) {
    const int64_t rows = s.L * s.columns(), size = s.columns() * s.N;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        Stretch<T> stretch(s, A);
#pragma omp for
        for (int64_t q = 0; q < s.S; ++q)
            scan_one(s, stretch, x + q * rows, delta + q * s.L * s.H, B + q * s.L * s.N, C + q * s.L * s.N,
                     state + q * size, y + q * rows, last + q * size);
    }
}

template <class T>
void scan_back(const Steps &s, const T *x, const T *delta, const T *A, const T *B, const T *C, const T *state,
               const T *dy, const T *dlast, T *dx, T *ddelta, T *dA, T *dB, T *dC, T *dstate, int threads) {
    const int64_t rows = s.L * s.columns(), size = s.columns() * s.N;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        Stretch<T> stretch(s, A);
#pragma omp for
        for (int64_t q = 0; q < s.S; ++q) {
            const int64_t heads = q * s.L * s.H, reads = q * s.L * s.N;
            scan_back_one(s, stretch, A, x + q * rows, delta + heads, B + reads, C + reads, state + q * size,
                          dy + q * rows, dlast + q * size, dx + q * rows, ddelta + heads, dA + q * s.H, dB + reads,
                          dC + reads, dstate + q * size);
        }
    }
}

} // namespace
