// CuPy's entries into CUB, whose device code is for a GPU: sums, extremes and cumulative sums on the host.
#include <cstdio>
#include <cstring>

#include "numbers.h"
#include "runtime.h"

namespace {

enum Operation { SUM, MIN, MAX, ARGMIN, ARGMAX, CUMSUM, CUMPROD, PROD };  // as CuPy numbers them
constexpr std::size_t WORK_SIZE = 16;                                     // bytes; not used, but asked for

// How two are joined, and what nothing at all is, of which there are no extremes.
template <class T>
struct Plus {
    static constexpr int NOTHING = 0;
    T operator()(T a, T b) const { return static_cast<T>(a + b); }
};
template <class T>
struct Times {
    static constexpr int NOTHING = 1;
    T operator()(T a, T b) const { return static_cast<T>(a * b); }
};
template <class T>
struct Larger {  // not a number is the largest, and the smallest
    static constexpr int NOTHING = 0;
    T operator()(T a, T b) const { return a != a || (b == b && !less(a, b)) ? a : b; }
};
template <class T>
struct Smaller {
    static constexpr int NOTHING = 0;
    T operator()(T a, T b) const { return a != a || (b == b && !less(b, a)) ? a : b; }
};

// In halves, as on the device: so the error of a sum grows with the logarithm of its length only.
template <class T, class F>
T reduced(const T* x, std::size_t count, F join) {
    if (count <= 1) return count ? *x : T(F::NOTHING);
    return join(reduced(x, count / 2, join), reduced(x + count / 2, count - count / 2, join));
}

template <class T, class F>
void reduce_all(const T* x, T* y, std::size_t segments, std::size_t size, F join) {
    for (std::size_t k = 0; k < segments; ++k) y[k] = reduced(x + k * size, size, join);
}

// The index of the best value, the first of equal ones: an int, behind which CUB puts the value, which CuPy leaves there.
template <class T, class F>
void find_best(const T* x, void* y, std::size_t count, F join) {
    const T best = reduced(x, count, join);
    int index = 0;
    while (best == best ? x[index] != best : x[index] == x[index]) ++index;
    std::memcpy(y, &index, sizeof index);
}

template <class T, class F>
void accumulate(const T* x, T* y, std::size_t count, F join) {
    for (std::size_t k = 0; k < count; ++k) y[k] = k ? join(y[k - 1], x[k]) : x[k];
}

template <class T>
int do_operation(int operation, const T* x, void* results, std::size_t segments, std::size_t size) {
    T* const y = static_cast<T*>(results);
    switch (operation) {
        case SUM:
            reduce_all(x, y, segments, size, Plus<T>());
            return 0;
        case PROD:
            reduce_all(x, y, segments, size, Times<T>());
            return 0;
        case MIN:
            reduce_all(x, y, segments, size, Smaller<T>());
            return 0;
        case MAX:
            reduce_all(x, y, segments, size, Larger<T>());
            return 0;
        case ARGMIN:
            find_best(x, results, size, Smaller<T>());
            return 0;
        case ARGMAX:
            find_best(x, results, size, Larger<T>());
            return 0;
        case CUMSUM:
            accumulate(x, y, size, Plus<T>());
            return 0;
        case CUMPROD:
            accumulate(x, y, size, Times<T>());
            return 0;
    }
    return fail(cudaErrorNotSupported, "an operation of CUB's");
}

std::size_t bytes_of_result(int operation, std::size_t segments, std::size_t size, std::size_t bytes) {
    if (operation == ARGMIN || operation == ARGMAX) return sizeof(int) + bytes;
    return bytes * (operation == CUMSUM || operation == CUMPROD ? size : segments);
}

// Called without work space, CUB says how much it takes. CuPy does not ask whether it has succeeded.
void run(
    void* work, std::size_t& work_size, void* x, void* y, int segments, int size, cudaStream_t stream, int operation,
    int type) {
    if (!work) {
        work_size = WORK_SIZE;
        return;
    }
    int status = 0;
    try {
        with_type(type, [&](auto* null) {
            using T = std::remove_pointer_t<decltype(null)>;
            const std::size_t count = std::size_t(segments) * size;
            if (!reachable(work, WORK_SIZE) || !reachable(x, count * sizeof(T)) ||
                !reachable(y, bytes_of_result(operation, segments, size, sizeof(T)))) {
                status = cudaErrorIllegalAddress;
                return;
            }
            status = submit(stream, [=] {
                return do_operation(operation, static_cast<const T*>(x), y, segments, size);
            });
        });
    } catch (const std::runtime_error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        status = cudaErrorNotSupported;
    }
    if (status) fail_next(status);
}

}  // namespace

void cub_device_reduce(
    void* work, std::size_t& work_size, void* x, void* y, int count, cudaStream_t stream, int operation, int type) {
    run(work, work_size, x, y, 1, count, stream, operation, type);
}
void cub_device_segmented_reduce(
    void* work, std::size_t& work_size, void* x, void* y, int segments, int size, cudaStream_t stream, int operation,
    int type) {
    run(work, work_size, x, y, segments, size, stream, operation, type);
}
void cub_device_scan(
    void* work, std::size_t& work_size, void* x, void* y, int count, cudaStream_t stream, int operation, int type) {
    run(work, work_size, x, y, 1, count, stream, operation, type);
}
