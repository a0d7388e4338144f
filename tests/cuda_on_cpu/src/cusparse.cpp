// libcusparse.so.12 for the host: what CuPy calls of it for `csr_matrix(dense)` and for products with dense matrices.
#include <cstdint>

#include "dense.h"
#include "gpu.h"

using dense::Complex128;
using dense::Complex64;

namespace {

enum Status {
    SUCCESS = 0,
    NOT_INITIALIZED = 1,
    INVALID_VALUE = 3,
    EXECUTION_FAILED = 6,
    NOT_SUPPORTED = 10,
};
constexpr int VERSION = 12600;
constexpr int ILLEGAL_ADDRESS = 700;   // CUDA's status of a kernel that left its memory
constexpr std::size_t WORK_SIZE = 16;  // bytes: none are needed, but what is asked for has to be given
enum { INT32 = 2, INT64 = 3 };         // cusparseIndexType_t
enum { BY_COLUMN = 1, BY_ROW = 2 };    // cusparseOrder_t
enum { FLOAT32 = 0, FLOAT64 = 1, COMPLEX64 = 4, COMPLEX128 = 5 };  // cudaDataType

struct Handle {
    void* stream = nullptr;
    int pointer_mode = 0;
};

// A matrix of which only some entries are stored: row by row their columns and values, and where each row begins.
struct Sparse {
    std::int64_t rows, columns, count;
    void* offsets;
    void* indices;
    void* values;
    int offset_type, index_type, base, type;
};

// A dense matrix; a vector has one column.
struct Dense {
    std::int64_t rows, columns, leading;
    void* values;
    int type, order;

    std::size_t place(std::int64_t row, std::int64_t column) const {
        return order == BY_ROW ? row * leading + column : row + column * leading;
    }
    std::size_t reach() const { return rows && columns ? place(rows - 1, columns - 1) + 1 : 0; }
};

bool is_index(int type) {
    return type == INT32 || type == INT64;
}

std::size_t size_of_index(int type) {
    return type == INT32 ? 4 : 8;
}

std::int64_t read(const void* numbers, int type, std::int64_t k) {
    return type == INT32 ? static_cast<const std::int32_t*>(numbers)[k] : static_cast<const std::int64_t*>(numbers)[k];
}

void write(void* numbers, int type, std::int64_t k, std::int64_t value) {
    if (type == INT32) {
        static_cast<std::int32_t*>(numbers)[k] = static_cast<std::int32_t>(value);
    } else {
        static_cast<std::int64_t*>(numbers)[k] = value;
    }
}

// Call a function with a null pointer of the type that CUDA numbers so; it returns a status.
template <class F>
int with_type(int type, F function) {
    switch (type) {
        case FLOAT32:
            return function(static_cast<float*>(nullptr));
        case FLOAT64:
            return function(static_cast<double*>(nullptr));
        case COMPLEX64:
            return function(static_cast<Complex64*>(nullptr));
        case COMPLEX128:
            return function(static_cast<Complex128*>(nullptr));
    }
    return NOT_SUPPORTED;
}

template <class T>
bool reachable_as(const Sparse& a) {
    return reachable(a.offsets, (a.rows + 1) * size_of_index(a.offset_type)) &&
           reachable(a.indices, a.count * size_of_index(a.index_type)) && reachable(a.values, a.count * sizeof(T));
}

template <class T>
bool reachable_as(const Dense& a) {
    return reachable(a.values, a.reach() * sizeof(T));
}

// Call a function with row, column and number of each entry that is stored; false if they do not fit the matrix.
template <class F>
bool for_each_entry(const Sparse& a, F function) {
    for (std::int64_t row = 0; row < a.rows; ++row) {
        const std::int64_t begin = read(a.offsets, a.offset_type, row) - a.base;
        const std::int64_t end = read(a.offsets, a.offset_type, row + 1) - a.base;
        if (begin < 0 || begin > end || end > a.count) return false;
        for (std::int64_t k = begin; k < end; ++k) {
            const std::int64_t column = read(a.indices, a.index_type, k) - a.base;
            if (column < 0 || column >= a.columns) return false;
            function(row, column, k);
        }
    }
    return true;
}

// What is done in the handle's stream; false means that it left its memory.
template <class F>
int in_stream(const Handle* handle, F function) {
    const Work work = [=] { return function() ? 0 : ILLEGAL_ADDRESS; };
    return submit(handle->stream, work) ? EXECUTION_FAILED : SUCCESS;
}

// c = alpha op(a) op(b) + beta c
template <class T>
bool multiply(int op_a, int op_b, T alpha, const Sparse& a, const Dense& b, T beta, const Dense& c) {
    const T* const values = static_cast<const T*>(a.values);
    const T* const from = static_cast<const T*>(b.values);
    T* const to = static_cast<T*>(c.values);
    std::vector<T> sums(c.rows * c.columns);
    const bool fits = for_each_entry(a, [&](std::int64_t row, std::int64_t inner, std::int64_t k) {
        if (op_a) std::swap(row, inner);
        const T value = op_a == dense::ADJOINT ? dense::conjugate(values[k]) : values[k];
        for (std::int64_t column = 0; column < c.columns; ++column) {
            const T other = from[op_b ? b.place(column, inner) : b.place(inner, column)];
            sums[row * c.columns + column] += value * (op_b == dense::ADJOINT ? dense::conjugate(other) : other);
        }
    });
    for (std::int64_t k = 0; fits && k < c.rows * c.columns; ++k) {
        T& entry = to[c.place(k / c.columns, k % c.columns)];
        entry = dense::combined(alpha, sums[k], beta, entry);
    }
    return fits;
}

bool valid_product(int op_a, int op_b, const Sparse* a, const Dense* b, const Dense* c, int type) {
    if (!a || !b || !c || a->type != type || b->type != type || c->type != type) return false;
    const std::int64_t rows = op_a ? a->columns : a->rows, inner = op_a ? a->rows : a->columns;
    const std::int64_t b_rows = op_b ? b->columns : b->rows, columns = op_b ? b->rows : b->columns;
    return c->rows == rows && b_rows == inner && c->columns == columns;
}

int work_size(bool valid, std::size_t* size) {
    if (valid) *size = WORK_SIZE;
    return valid ? SUCCESS : INVALID_VALUE;
}

int checked_product(
    const Handle* handle, int op_a, int op_b, const void* alpha, const Sparse* a, const Dense* b, const void* beta,
    const Dense* c, int type, const void* work) {
    if (!handle) return NOT_INITIALIZED;
    if (!alpha || !beta || !valid_product(op_a, op_b, a, b, c, type) || !reachable(work, WORK_SIZE)) {
        return INVALID_VALUE;
    }
    return with_type(type, [=](auto* null) -> int {
        using T = std::remove_pointer_t<decltype(null)>;
        if (!reachable_as<T>(*a) || !reachable_as<T>(*b) || !reachable_as<T>(*c)) return INVALID_VALUE;
        const T by = *static_cast<const T*>(alpha), kept = *static_cast<const T*>(beta);
        return in_stream(handle, [=, a = *a, b = *b, c = *c] { return multiply<T>(op_a, op_b, by, a, b, kept, c); });
    });
}

bool same_kind(const Dense* a, const Sparse* b) {
    return a && b && a->type == b->type && a->rows == b->rows && a->columns == b->columns;
}

// Count the entries that are not 0, and write where each row begins.
template <class T>
std::int64_t count_entries(const Dense& from, const Sparse& to) {
    const T* const values = static_cast<const T*>(from.values);
    std::int64_t count = 0;
    for (std::int64_t row = 0; row < from.rows; ++row) {
        write(to.offsets, to.offset_type, row, count + to.base);
        for (std::int64_t column = 0; column < from.columns; ++column) {
            count += values[from.place(row, column)] != T(0);
        }
    }
    write(to.offsets, to.offset_type, from.rows, count + to.base);
    return count;
}

template <class T>
bool compress(const Dense& from, const Sparse& to) {
    if (read(to.offsets, to.offset_type, to.rows) - to.base != to.count) return false;
    const T* const values = static_cast<const T*>(from.values);
    std::int64_t k = 0;
    for (std::int64_t row = 0; row < from.rows; ++row) {
        for (std::int64_t column = 0; column < from.columns; ++column) {
            const T value = values[from.place(row, column)];
            if (value == T(0)) continue;
            if (k == to.count) return false;  // others than were counted
            write(to.indices, to.index_type, k, column + to.base);
            static_cast<T*>(to.values)[k++] = value;
        }
    }
    return k == to.count;
}

}  // namespace

extern "C" {

const char* cusparseGetErrorName(int status) {
    switch (status) {
        case SUCCESS:
            return "CUSPARSE_STATUS_SUCCESS";
        case NOT_INITIALIZED:
            return "CUSPARSE_STATUS_NOT_INITIALIZED";
        case INVALID_VALUE:
            return "CUSPARSE_STATUS_INVALID_VALUE";
        case EXECUTION_FAILED:
            return "CUSPARSE_STATUS_EXECUTION_FAILED";
    }
    return "CUSPARSE_STATUS_NOT_SUPPORTED";
}
const char* cusparseGetErrorString(int status) {
    return cusparseGetErrorName(status);
}

// ---- handles

int cusparseCreate(Handle** handle) {
    *handle = new Handle;
    return SUCCESS;
}
int cusparseDestroy(Handle* handle) {
    delete handle;
    return SUCCESS;
}
int cusparseGetVersion(Handle*, int* version) {
    *version = VERSION;
    return SUCCESS;
}
int cusparseSetStream(Handle* handle, void* stream) {
    if (!handle) return NOT_INITIALIZED;
    handle->stream = stream;
    return SUCCESS;
}
int cusparseGetStream(Handle* handle, void** stream) {
    *stream = handle->stream;
    return SUCCESS;
}
int cusparseSetPointerMode(Handle* handle, int mode) {
    handle->pointer_mode = mode;  // the host reads either kind of pointer
    return SUCCESS;
}

// ---- descriptors

// Each csr_matrix of CuPy's has one of these, for functions that are not here.
int cusparseCreateMatDescr(void** descriptor) {
    *descriptor = new int(0);
    return SUCCESS;
}
int cusparseDestroyMatDescr(void* descriptor) {
    delete static_cast<int*>(descriptor);
    return SUCCESS;
}

int cusparseCreateCsr(
    Sparse** matrix, std::int64_t rows, std::int64_t columns, std::int64_t count, void* offsets, void* indices,
    void* values, int offset_type, int index_type, int base, int type) {
    const bool sized = rows >= 0 && columns >= 0 && count >= 0 && count <= rows * columns;
    const bool given = offsets && (!count || (indices && values));
    if (!sized || !given || !is_index(offset_type) || !is_index(index_type) || base < 0 || base > 1) {
        return INVALID_VALUE;
    }
    *matrix = new Sparse{rows, columns, count, offsets, indices, values, offset_type, index_type, base, type};
    return SUCCESS;
}
int cusparseDestroySpMat(Sparse* matrix) {
    delete matrix;
    return SUCCESS;
}
int cusparseSpMatGetSize(Sparse* matrix, std::int64_t* rows, std::int64_t* columns, std::int64_t* count) {
    *rows = matrix->rows;
    *columns = matrix->columns;
    *count = matrix->count;
    return SUCCESS;
}

int cusparseCreateDnMat(
    Dense** matrix, std::int64_t rows, std::int64_t columns, std::int64_t leading, void* values, int type, int order) {
    const std::int64_t least = order == BY_ROW ? columns : rows;
    const bool sized = rows >= 0 && columns >= 0 && leading >= least && (values || !rows || !columns);
    if (!sized || (order != BY_COLUMN && order != BY_ROW)) return INVALID_VALUE;
    *matrix = new Dense{rows, columns, leading, values, type, order};
    return SUCCESS;
}
int cusparseDestroyDnMat(Dense* matrix) {
    delete matrix;
    return SUCCESS;
}
int cusparseCreateDnVec(Dense** vector, std::int64_t size, void* values, int type) {
    return cusparseCreateDnMat(vector, size, 1, size, values, type, BY_COLUMN);
}
int cusparseDestroyDnVec(Dense* vector) {
    return cusparseDestroyDnMat(vector);
}

// ---- products

int cusparseSpMM_bufferSize(
    Handle*, int op_a, int op_b, const void*, Sparse* a, Dense* b, const void*, Dense* c, int type, int,
    std::size_t* size) {
    return work_size(valid_product(op_a, op_b, a, b, c, type), size);
}
int cusparseSpMM(
    Handle* handle, int op_a, int op_b, const void* alpha, Sparse* a, Dense* b, const void* beta, Dense* c, int type,
    int, void* work) {
    return checked_product(handle, op_a, op_b, alpha, a, b, beta, c, type, work);
}
int cusparseSpMV_bufferSize(
    Handle*, int op, const void*, Sparse* a, Dense* x, const void*, Dense* y, int type, int, std::size_t* size) {
    return work_size(valid_product(op, dense::AS_IT_IS, a, x, y, type), size);
}
int cusparseSpMV(
    Handle* handle, int op, const void* alpha, Sparse* a, Dense* x, const void* beta, Dense* y, int type, int,
    void* work) {
    return checked_product(handle, op, dense::AS_IT_IS, alpha, a, x, beta, y, type, work);
}

// ---- dense to sparse

int cusparseDenseToSparse_bufferSize(Handle*, Dense* from, Sparse* to, int, std::size_t* size) {
    return work_size(same_kind(from, to), size);
}
// How many entries there are is a number on the host: the caller waits for it, which no capture allows.
int cusparseDenseToSparse_analysis(Handle* handle, Dense* from, Sparse* to, int, void* work) {
    if (!handle) return NOT_INITIALIZED;
    if (!same_kind(from, to) || !reachable(work, WORK_SIZE)) return INVALID_VALUE;
    if (cuda_on_cpu_wait(handle->stream)) return EXECUTION_FAILED;
    return with_type(from->type, [=](auto* null) -> int {
        using T = std::remove_pointer_t<decltype(null)>;
        if (!reachable_as<T>(*from) || !reachable(to->offsets, (to->rows + 1) * size_of_index(to->offset_type))) {
            return INVALID_VALUE;
        }
        to->count = count_entries<T>(*from, *to);
        return SUCCESS;
    });
}
int cusparseDenseToSparse_convert(Handle* handle, Dense* from, Sparse* to, int, void* work) {
    if (!handle) return NOT_INITIALIZED;
    if (!same_kind(from, to) || !reachable(work, WORK_SIZE)) return INVALID_VALUE;
    return with_type(from->type, [=](auto* null) -> int {
        using T = std::remove_pointer_t<decltype(null)>;
        if (!reachable_as<T>(*from) || !reachable_as<T>(*to)) return INVALID_VALUE;
        return in_stream(handle, [from = *from, to = *to] { return compress<T>(from, to); });
    });
}

}  // extern "C"
