// What CuPy's kernels of reductions take from CUB, whose own blocks are written for a GPU.
#pragma once

namespace cub {

enum BlockLoadAlgorithm { BLOCK_LOAD_DIRECT };

// Each thread of a block loads neighbouring items.
template <class T, int threads, int items, BlockLoadAlgorithm algorithm>
struct BlockLoad {
    struct TempStorage {};
    explicit BlockLoad(TempStorage&) {}

    template <class From>
    void Load(const From* from, T (&to)[items], int valid, T otherwise) {
        for (int k = 0; k < items; ++k) {
            const int place = threadIdx.x * items + k;
            to[k] = place < valid ? static_cast<T>(from[place]) : otherwise;
        }
    }
};

// Reduces what the threads of a block have; only the first of them gets the result.
template <class T, int threads>
struct BlockReduce {
    struct TempStorage {
        alignas(16) unsigned char bytes[threads * sizeof(T)];
    };
    explicit BlockReduce(TempStorage& storage) : values(reinterpret_cast<T*>(storage.bytes)) {}

    template <int items, class F>
    T Reduce(T (&given)[items], F join) {
        T mine = given[0];
        for (int k = 1; k < items; ++k) mine = join(mine, given[k]);
        std::memcpy(&values[threadIdx.x], &mine, sizeof mine);
        for (unsigned half = threads / 2; half; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) values[threadIdx.x] = join(values[threadIdx.x], values[threadIdx.x + half]);
        }
        return values[threadIdx.x];
    }

    T* values;
};

}  // namespace cub
