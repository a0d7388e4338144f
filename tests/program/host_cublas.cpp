// Functions of cuBLAS, as its header declares them, for memory of the host. They refuse what is out of order.
#include <cstddef>

static void *stream, *workspace;
static int mode = 0, created = 0;

extern "C" int living() { return created; }
extern "C" int cublasCreate_v2(void** handle) { *handle = &created; ++created; return 0; }
extern "C" int cublasDestroy_v2(void* handle) { --created; return handle != &created; }
extern "C" int cublasSetMathMode(void* handle, int chosen) { mode = chosen; return handle != &created; }

extern "C" int cublasSetStream_v2(void* handle, void* chosen) {
    stream = chosen;
    workspace = nullptr;
    return handle != &created;
}

extern "C" int cublasSetWorkspace_v2(void* handle, void* memory, size_t size) {
    workspace = memory;
    return handle != &created || size != 32 << 20 || (size_t)memory % 256;
}

// Adds the mode to each entry, to be seen.
template <class T>
static int gemm(void* handle, int turn_a, int turn_b, int m, int n, int k, const T* alpha, const T* a, int lda,
                const T* b, int ldb, const T* beta, T* c, int ldc) {
    if (handle != &created || !workspace || stream != (void*)77 || ldc < m || *beta) return 7;
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
            T sum = 0;
            for (int l = 0; l < k; ++l)
                sum += a[turn_a ? l + i * (size_t)lda : i + l * (size_t)lda] *
                       b[turn_b ? j + l * (size_t)ldb : l + j * (size_t)ldb];
            c[i + j * (size_t)ldc] = *alpha * sum + mode;
        }
    return 0;
}

#define GEMM(name, T)                                                                                   \
    extern "C" int name(void* h, int ta, int tb, int m, int n, int k, const T* alpha, const T* a,       \
                        int lda, const T* b, int ldb, const T* beta, T* c, int ldc) {                   \
        return gemm(h, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);                           \
    }
GEMM(cublasSgemm_v2, float)
GEMM(cublasDgemm_v2, double)
