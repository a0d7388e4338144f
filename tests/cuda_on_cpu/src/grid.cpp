// The threads of a kernel. Blocks run one after another. The threads of a block run one after another, too, unless the
// kernel has barriers: then each is a fiber, which a barrier leaves until the others have come.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <setjmp.h>
#include <ucontext.h>
#include <xmmintrin.h>

#include "kernel_abi.h"
#include "runtime.h"

namespace {

constexpr unsigned MOST_THREADS = 1024;  // of a block
constexpr unsigned WARP = 32;
constexpr std::size_t STACK = 65536;          // bytes for a fiber
constexpr unsigned FLUSH_DENORMALS = 0x8040;  // of results and of operands, in the control register of SSE

alignas(64) unsigned char dynamic_shared[MOST_SHARED];
alignas(16) unsigned char handed[MOST_THREADS][16];

unsigned progress;  // grows whenever a thread ends or a barrier opens
const HostKernel* kernel;
void** arguments;

struct Fiber {
    ucontext_t start;
    jmp_buf place;  // where it waits
    bool begun, done;
};
Fiber fibers[MOST_THREADS];
jmp_buf scheduler;

// Threads that have ended are not waited for, as on the device.
struct Barrier {
    unsigned alive = 0;
    unsigned arrived = 0;
    unsigned generation = 0;
};
Barrier of_block, of_warp[MOST_THREADS / WARP];

unsigned threads_of_block() {
    const dim3& size = cuda_on_cpu_here.block_dim;
    return size.x * size.y * size.z;
}

unsigned threads_of_warp(unsigned warp) {
    return std::min(threads_of_block() - warp * WARP, WARP);
}

void become(unsigned number) {
    const dim3& size = cuda_on_cpu_here.block_dim;
    cuda_on_cpu_here.number = number;
    cuda_on_cpu_here.thread = dim3(number % size.x, number / size.x % size.y, number / (size.x * size.y));
}

void wait_at(Barrier& barrier) {
    const unsigned me = cuda_on_cpu_here.number;
    const unsigned generation = barrier.generation;
    ++barrier.arrived;
    while (barrier.generation == generation) {
        if (barrier.arrived >= barrier.alive) {  // looked at again each time: others may have ended
            barrier.arrived = 0;
            ++barrier.generation;
            ++progress;
            return;
        }
        if (!_setjmp(fibers[me].place)) _longjmp(scheduler, 1);
    }
}

void run_fiber() {
    kernel->call(arguments);
    const unsigned number = cuda_on_cpu_here.number;
    fibers[number].done = true;
    --of_block.alive;
    --of_warp[number / WARP].alive;
    ++progress;
    _longjmp(scheduler, 1);
}

void resume(unsigned number) {
    become(number);
    if (_setjmp(scheduler)) return;  // the fiber waits, or has ended
    Fiber& fiber = fibers[number];
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    setcontext(&fiber.start);
}

// Let the threads of a warp run as far as they can; returns how many have not ended.
unsigned run_warp(unsigned warp, bool backwards) {
    const unsigned count = threads_of_warp(warp);
    unsigned before, left;
    do {
        before = progress;
        left = 0;
        for (unsigned k = 0; k < count; ++k) {
            const unsigned number = warp * WARP + (backwards ? count - 1 - k : k);
            if (fibers[number].done) continue;
            resume(number);
            left += !fibers[number].done;
        }
    } while (left && progress != before);
    return left;
}

void prepare_fibers() {
    static char* const stacks = static_cast<char*>(std::malloc(MOST_THREADS * STACK));
    for (unsigned number = 0; number < threads_of_block(); ++number) {
        Fiber& fiber = fibers[number];
        fiber.begun = fiber.done = false;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = &stacks[number * STACK];
        fiber.start.uc_stack.ss_size = STACK;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, run_fiber, 0);
    }
}

// False if threads are left that wait for each other.
bool run_block_of_fibers(bool backwards) {
    const unsigned warps = (threads_of_block() + WARP - 1) / WARP;
    prepare_fibers();
    of_block = {threads_of_block()};
    for (unsigned warp = 0; warp < warps; ++warp) of_warp[warp] = {threads_of_warp(warp)};
    unsigned before, left;
    do {
        before = progress;
        left = 0;
        for (unsigned k = 0; k < warps; ++k) left += run_warp(backwards ? warps - 1 - k : k, backwards);
    } while (left && progress != before);
    return !left;
}

void run_block_of_loops(bool backwards) {
    const unsigned count = threads_of_block();
    for (unsigned k = 0; k < count; ++k) {
        become(backwards ? count - 1 - k : k);
        kernel->call(arguments);
    }
}

// What the threads of a block share is not what those of another one left.
void poison_shared(std::size_t size) {
    std::memset(dynamic_shared, POISON, size);
    std::memset(kernel->shared, POISON, kernel->shared_end - kernel->shared);
}

bool run_blocks(const Grid& grid, bool backwards) {
    const dim3& size = grid.blocks;
    const unsigned long long plane = 1ull * size.x * size.y;
    const unsigned long long blocks = plane * size.z;
    for (unsigned long long k = 0; k < blocks; ++k) {
        const unsigned long long number = backwards ? blocks - 1 - k : k;
        cuda_on_cpu_here.block = dim3(number % size.x, number / size.x % size.y, number / plane);
        poison_shared(grid.shared);
        if (!kernel->has_barriers) {
            run_block_of_loops(backwards);
        } else if (!run_block_of_fibers(backwards)) {
            return false;
        }
    }
    return true;
}

}  // namespace

Here cuda_on_cpu_here = {{}, {}, {}, {}, 0, dynamic_shared, handed};

void cuda_on_cpu_wait_for_block() {
    wait_at(of_block);
}
void cuda_on_cpu_wait_for_warp() {
    wait_at(of_warp[cuda_on_cpu_here.number / WARP]);
}

bool run_grid(const HostKernel& given, void** values, const Grid& grid, bool backwards) {
    kernel = &given;
    arguments = values;
    cuda_on_cpu_here.grid_dim = grid.blocks;
    cuda_on_cpu_here.block_dim = grid.threads;
    const unsigned before = _mm_getcsr();
    if (given.flush_denormals) _mm_setcsr(before | FLUSH_DENORMALS);
    const bool ended = run_blocks(grid, backwards);
    _mm_setcsr(before);
    return ended;
}
