// The types of numbers as CuPy gives them to Thrust and CUB, and the order of NumPy among them.
#pragma once
#include <complex>
#include <cstdint>
#include <stdexcept>

// The order of NumPy: what is not a number comes last; complex numbers by their real parts, then by the imaginary.
template <class T>
bool less(T a, T b) {
    return a < b || (a == a && b != b);
}
template <class T>
bool less(std::complex<T> a, std::complex<T> b) {
    if (less(a.real(), b.real())) return true;
    return !less(b.real(), a.real()) && less(a.imag(), b.imag());
}

// Call a function with a null pointer of the type that CuPy numbers so.
template <class F>
void with_type(int number, F function) {
    switch (number) {
        case 0:
            return function(static_cast<std::int8_t*>(nullptr));
        case 1:
            return function(static_cast<std::uint8_t*>(nullptr));
        case 2:
            return function(static_cast<std::int16_t*>(nullptr));
        case 3:
            return function(static_cast<std::uint16_t*>(nullptr));
        case 4:
            return function(static_cast<std::int32_t*>(nullptr));
        case 5:
            return function(static_cast<std::uint32_t*>(nullptr));
        case 6:
            return function(static_cast<std::int64_t*>(nullptr));
        case 7:
            return function(static_cast<std::uint64_t*>(nullptr));
#ifdef __FLT16_MAX__  // g++ has float16 from version 12 on
        case 8:
            return function(static_cast<_Float16*>(nullptr));
#endif
        case 9:
            return function(static_cast<float*>(nullptr));
        case 10:
            return function(static_cast<double*>(nullptr));
        case 11:
            return function(static_cast<std::complex<float>*>(nullptr));
        case 12:
            return function(static_cast<std::complex<double>*>(nullptr));
        case 13:
            return function(static_cast<bool*>(nullptr));
    }
    throw std::runtime_error("cuda_on_cpu: no sorting and no sums of this type of numbers");
}
