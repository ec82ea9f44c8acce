// Numbers side by side, in the vectors that GCC and Clang know on every machine.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t SHORT_BYTES = 32; // AVX2, or two registers of NEON
#ifdef __AVX512F__
constexpr int64_t VECTOR_BYTES = 64;
#else
constexpr int64_t VECTOR_BYTES = SHORT_BYTES;
#endif

template <class T, int64_t BYTES = VECTOR_BYTES> struct Vector {
    typedef T type __attribute__((vector_size(BYTES)));
    static constexpr int64_t size = BYTES / int64_t(sizeof(T));
};
template <class T> using V = typename Vector<T>::type;

// Eight floats on every machine.
template <class T> using Short = typename Vector<T, SHORT_BYTES>::type;

// As many whole numbers as there are T in a vector.
template <class T> struct Whole {
    typedef int32_t type __attribute__((vector_size(4 * Vector<T>::size)));
};

template <class To, class T> inline To load(const T *p) {
    To v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class From, class T> inline void store(T *p, From v) { std::memcpy(p, &v, sizeof v); }

// The first `count` numbers at p; the rest are zeros.
template <class T> inline V<T> load_few(const T *p, int64_t count) {
    T few[Vector<T>::size] = {};
    std::memcpy(few, p, count * sizeof(T));
    return load<V<T>>(few);
}

// A vector, or the `count` numbers that are left of one.
template <class T> inline V<T> load_some(const T *p, int64_t count) {
    return count == Vector<T>::size ? load<V<T>>(p) : load_few(p, count);
}
template <class T> inline void store_some(T *p, V<T> v, int64_t count) {
    if (count == Vector<T>::size)
        store(p, v);
    else
        std::memcpy(p, &v, count * sizeof(T));
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t rounds(int64_t n, int64_t by) { return (n + by - 1) / by; }

// The sum of a vector's numbers.
template <class T> inline T total(V<T> v) {
    T sum = 0;
    for (int64_t i = 0; i < Vector<T>::size; ++i) sum += v[i];
    return sum;
}

// Rows and columns of 8 × 8 numbers change places; they are moved, never read.
inline void transpose(Short<float> *r) {
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
    Short<float> a[8], b[8];
    for (int k = 0; k < 4; ++k) {
        a[k] = MIXED(r[2 * k], r[2 * k + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        a[k + 4] = MIXED(r[2 * k], r[2 * k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int k = 0; k < 8; k += 4)
        for (int h = 0; h < 4; h += 2) {
            b[k + h / 2] = MIXED(a[k + h], a[k + h + 1], 0, 1, 8, 9, 4, 5, 12, 13);
            b[k + h / 2 + 2] = MIXED(a[k + h], a[k + h + 1], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int k = 0; k < 4; ++k) {
        const int at = k % 2 * 2 + k / 2 * 4; // of the two halves that make rows k and k + 4
        r[k] = MIXED(b[at], b[at + 1], 0, 1, 2, 3, 8, 9, 10, 11);
        r[k + 4] = MIXED(b[at], b[at + 1], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#undef MIXED
}

// The sums of eight vectors, added to eight numbers.
inline void add_up(const Short<float> *v, float *to) {
#define PAIRS(a, b)                                                                                                    \
    (__builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +                                                        \
     __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15))
    const Short<float> a = PAIRS(v[0], v[1]), b = PAIRS(v[2], v[3]), c = PAIRS(v[4], v[5]), d = PAIRS(v[6], v[7]);
    const Short<float> low = PAIRS(a, b), high = PAIRS(c, d);
    store(to, load<Short<float>>(to) + __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11) +
                  __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15));
#undef PAIRS
}
inline void add_up(const Short<double> *v, double *to) {
    for (int i = 0; i < 8; ++i) to[i] += (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
}

#ifdef __AVX512F__
// Two short vectors side by side, and a vector's two halves added up.
inline V<float> beside(Short<float> a, Short<float> b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
inline Short<float> folded(V<float> v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
}
inline Short<double> folded(V<double> v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
template <class T> inline void add_up(const V<T> *v, T *to) {
    Short<T> halves[8];
    for (int i = 0; i < 8; ++i) halves[i] = folded(v[i]);
    add_up(halves, to);
}
#endif

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

} // namespace
