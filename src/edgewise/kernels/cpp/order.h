// The rows of a block in the order of their cells.

#pragma once

#include "weights.h"

namespace {

constexpr int64_t RECORD = 8; // numbers: up to seven weights, and the row

// The records of one row: of weights [M, GROUP], LANES apart, the columns, and the row's number, bit for bit.
template <int M> inline void write(const float *weights, int32_t row, float *const *to) {
    Short<float> r[RECORD] = {};
    for (int j = 0; j < M; ++j) r[j] = load<Short<float>>(weights + j * LANES<float>);
    float bits;
    std::memcpy(&bits, &row, sizeof bits);
    for (int i = 0; i < GROUP; ++i) r[RECORD - 1][i] = bits;
    transpose(r);
    for (int i = 0; i < GROUP; ++i) store(to[i], r[i]);
}
template <int M> inline void write(const double *weights, int32_t row, double *const *to) {
    for (int i = 0; i < GROUP; ++i) {
        for (int j = 0; j < M; ++j) to[i][j] = weights[j * LANES<double> + i];
        std::memcpy(to[i] + RECORD - 1, &row, sizeof row);
    }
}
template <class T> inline int32_t row_of(const T *record) {
    int32_t row;
    std::memcpy(&row, record + RECORD - 1, sizeof row);
    return row;
}

// For each input of a group a list of records [rows, RECORD], by a counting sort.
template <int D, bool BASE, class T> class Order {
    static constexpr int M = Group<D, BASE, T>::M;
    static_assert(M < RECORD, "a record holds the weights and the row");
    std::vector<int32_t> begins, next;
    Room<T> room;
    T *records, unused[RECORD];
    int64_t cells, rows;

    // Count: the number of inputs, which the compiler knows where the group is full.
    template <class Count> void place(const Group<D, BASE, T> &group, Count inputs) {
        int32_t *const begin = begins.data();
        // Inputs in turns, for a count that was just written is slow to be read.
        for (int64_t n = 0; n < rows; ++n)
            for (int64_t i = 0; i < inputs; ++i) ++begin[i * cells + group.cell(n)[i] + 1];
        next.resize(begins.size());
        int32_t *const free = next.data(); // of each cell, where its next record goes
        for (int64_t i = 0; i < inputs; ++i)
            for (int64_t g = 0; g + 1 < cells; ++g) {
                begin[i * cells + g + 1] += begin[i * cells + g];
                free[i * cells + g] = int32_t((i * rows + begin[i * cells + g]) * RECORD);
            }
        for (int64_t n = 0; n < rows; ++n) {
            T *to[GROUP];
            for (int64_t i = 0; i < inputs; ++i) {
                int32_t &at = free[i * cells + group.cell(n)[i]];
                to[i] = records + at;
                at += RECORD;
            }
            for (int64_t i = inputs; i < GROUP; ++i) to[i] = unused;
            write<M>(group.weight(n), int32_t(n), to);
        }
    }

  public:
    void sort(const Group<D, BASE, T> &group, int64_t G, int64_t rows_, int64_t inputs) {
        cells = G + 1;
        rows = rows_;
        begins.assign(GROUP * cells, 0);
        records = room.of(GROUP * rows * RECORD);
        if (inputs == GROUP)
            place(group, std::integral_constant<int64_t, GROUP>());
        else
            place(group, inputs);
    }

    // Of input i, where the records of cell g begin; those of its last cell end where cell G begins.
    const T *begin(int64_t i, int64_t g) const { return records + (i * rows + begins[i * cells + g]) * RECORD; }
};

} // namespace
