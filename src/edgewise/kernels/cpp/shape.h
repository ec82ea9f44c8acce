// What a call is about, and how it is cut into pieces that stay in a processor's caches.

#pragma once

#include "vectors.h"

#include <type_traits>

namespace {

// x [N, I], C [K, I, O], and knots [knot_rows, G + 1 + 2 D] or none for G equal cells of
// [low, low + G / per_unit].
struct Shape {
    int64_t N, I, O, G, K;
    double low, per_unit;
    const double *knots;
    int64_t knot_rows;
    int base;
};

enum Base { NONE = 0, SILU = 1, TANH = 2, IDENTITY = 3 };

constexpr int64_t GROUP = 8; // inputs side by side, and those of a panel

// Rows side by side, where a vector holds more than the inputs of one.
template <class T> constexpr int64_t ROWS = Vector<T>::size > GROUP ? Vector<T>::size / GROUP : 1;
template <class T> constexpr int64_t LANES = ROWS<T> * GROUP;

// Outputs of a tile of y, whose sums fill half the registers, and of a strip of dy, where the D + 1
// rows of sums of dC do so.
constexpr int WIDEST = 8;
template <class T> constexpr int64_t TILE = WIDEST * Vector<T>::size;
constexpr int NARROW = VECTOR_BYTES == 64 ? 4 : 2; // AVX-512 has twice as many registers
template <class T> constexpr int64_t STRIP = NARROW * Vector<T>::size;

// Rows of a block, so that a panel is worth its packing; and those of dC, so that a cell holds
// several of them.
inline int64_t rows_of_y(const Shape &s) { return s.K > 64 ? 1024 : 512; }
inline int64_t rows_of_dC(const Shape &s) { return s.K > 32 ? 1024 : 512; }

// Inputs whose weights are held at once, for a tile of y or dy to be read once for all of them: as
// many as leave it room in the second cache.
inline int64_t inputs_held(int64_t rows) { return larger(1, 8192 / rows / GROUP) * GROUP; }

// Calls with the number of vectors that hold `width` outputs.
template <class T, class F> void with_vectors(int64_t width, F call) {
    const int64_t vectors = rounds(width, Vector<T>::size);
    if (vectors > 4) return call(std::integral_constant<int, 8>());
    if (vectors > 2) return call(std::integral_constant<int, 4>());
    if (vectors > 1) return call(std::integral_constant<int, 2>());
    call(std::integral_constant<int, 1>());
}

} // namespace
