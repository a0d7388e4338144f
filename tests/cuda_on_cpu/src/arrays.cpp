// The arrays in CuPy's memory pool. The pool asks the runtime for few, large blocks and hands out parts of them, of which
// the runtime knows nothing: hook/arrays.py tells it. So an array that has been freed is found out also while its memory
// waits in the pool or belongs to another array by now, and so is what goes beyond the end of an array.
#include <algorithm>
#include <climits>
#include <cstring>
#include <map>

#include "runtime.h"

namespace {

struct Array {
    char* begin;
    std::size_t size, reserved;  // bytes that were asked for, and that the pool has set aside
    long long number;            // grows from array to array
    bool freed;
};

std::map<char*, Array> arrays;  // by where they begin; they do not overlap
long long made = 0;

void forget(char* begin, std::size_t size) {
    auto array = arrays.upper_bound(begin);
    if (array != arrays.begin()) --array;
    while (array != arrays.end() && array->first < begin + size) {
        const bool overlaps = array->first + array->second.reserved > begin;
        array = overlaps ? arrays.erase(array) : std::next(array);
    }
}

const Array* array_of(const void* address) {
    char* const place = static_cast<char*>(const_cast<void*>(address));
    auto next = arrays.upper_bound(place);
    if (next == arrays.begin()) return nullptr;
    const Array& array = std::prev(next)->second;
    return place <= array.begin + array.reserved ? &array : nullptr;
}

}  // namespace

long long replayed_from = LLONG_MAX;

long long arrays_made() {
    return made;
}

void forget_arrays(void* begin, std::size_t size) {
    forget(static_cast<char*>(begin), size);
}

std::string unreachable_array(const void* address, std::size_t bytes) {
    const Array* const array = array_of(address);
    if (!array) return "";
    if (array->freed) return "an array that has been freed";
    if (array->number > replayed_from) return "an array that has been freed, and whose memory another one has";
    const std::size_t offset = static_cast<const char*>(address) - array->begin;
    if (offset > array->size || bytes > array->size - offset) return "beyond the end of its array";
    return "";
}

bool written_past_end(const void* address) {
    const Array* const array = array_of(address);
    const Block* const block = block_of(address);
    if (!array && !block) return false;
    char* const end = array ? array->begin + array->size : block->begin + block->size;
    const std::size_t rest = array ? array->reserved - array->size : padding_of(*block);
    if (std::all_of(end, end + rest, [](char byte) { return static_cast<unsigned char>(byte) == POISON; })) return false;
    std::memset(end, POISON, rest);  // so that it is told once
    return true;
}

extern "C" {

void cuda_on_cpu_array_made(char* begin, std::size_t size, std::size_t reserved) {
    LOCKED;
    forget(begin, reserved);
    arrays[begin] = {begin, size, reserved, ++made, false};
    poison(begin, reserved, size);
}
void cuda_on_cpu_array_freed(char* begin) {
    LOCKED;
    const auto array = arrays.find(begin);
    if (array == arrays.end()) return;
    array->second.freed = true;
    poison(begin, array->second.reserved, 0);
}

}  // extern "C"
