// CUDA on the host: enough of it to run generated kernels. Blocks run one after another, the threads of a
// block by turns, each until it has to wait for others.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <setjmp.h>
#include <ucontext.h>

using std::exp;
using std::log1p;
using std::signbit;

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(n)

struct Dim { unsigned int x; };
static Dim threadIdx, blockIdx, blockDim, gridDim;

struct Barrier { unsigned int arrived = 0, generation = 0; };
static Barrier of_all, of_warp[32];
static unsigned char handed[1024][8];
static ucontext_t fibers[1024];  // to begin with: going to and fro by jumps is much faster
static jmp_buf scheduler, places[1024];
static bool begun[1024], done[1024];
static unsigned int progress;
static const std::function<void()>* body;

static void wait_at(Barrier& barrier, unsigned int threads) {
    const unsigned int mine = threadIdx.x, generation = barrier.generation;
    if (++barrier.arrived == threads) {
        barrier.arrived = 0;
        ++barrier.generation;
        ++progress;
        return;
    }
    while (barrier.generation == generation)
        if (!_setjmp(places[mine])) _longjmp(scheduler, 1);
}

static void __syncthreads() { wait_at(of_all, blockDim.x); }
static void __threadfence() {}

template <class T> T __shfl_xor_sync(unsigned int, T x, int distance) {
    Barrier& warp = of_warp[threadIdx.x / 32];
    std::memcpy(handed[threadIdx.x], &x, sizeof(T));
    wait_at(warp, 32);
    std::memcpy(&x, handed[threadIdx.x ^ distance], sizeof(T));
    wait_at(warp, 32);
    return x;
}

static unsigned int atomicInc(unsigned int* p, unsigned int most) {
    const unsigned int old = *p;
    *p = old >= most ? 0 : old + 1;
    return old;
}

static float __int_as_float(int bits) { float x; std::memcpy(&x, &bits, 4); return x; }
static double __longlong_as_double(long long bits) { double x; std::memcpy(&x, &bits, 8); return x; }

static void fiber() {
    (*body)();
    done[threadIdx.x] = true;
    ++progress;
    _longjmp(scheduler, 1);
}

static void resume(unsigned int t) {
    threadIdx.x = t;
    if (_setjmp(scheduler)) return;
    if (begun[t]) _longjmp(places[t], 1);
    begun[t] = true;
    setcontext(&fibers[t]);
}

// Lets the threads of a warp run until all of them wait for other warps, so that nobody waits by chance for
// what a missing barrier should wait for; returns how many are not done.
static unsigned int run_warp(unsigned int warp, bool backwards) {
    const unsigned int first = warp * 32, count = blockDim.x - first < 32 ? blockDim.x - first : 32;
    unsigned int before, left;
    do {
        before = progress;
        left = 0;
        for (unsigned int k = 0; k < count; ++k) {
            const unsigned int t = first + (backwards ? count - 1 - k : k);
            if (done[t]) continue;
            resume(t);
            left += !done[t];
        }
    } while (left && progress != before);
    return left;
}

// Runs one block; false if threads wait for each other in vain.
static bool run_block(bool backwards) {
    static char* stacks = static_cast<char*>(std::malloc(1024 * 65536));  // of which few pages are ever touched
    const unsigned int n = blockDim.x;
    of_all = Barrier();
    for (Barrier& warp : of_warp) warp = Barrier();
    for (unsigned int t = 0; t < n; ++t) {
        begun[t] = done[t] = false;
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = &stacks[t * 65536];
        fibers[t].uc_stack.ss_size = 65536;
        fibers[t].uc_link = nullptr;
        makecontext(&fibers[t], fiber, 0);
    }
    const unsigned int warps = (n + 31) / 32;
    unsigned int before, left;
    do {
        before = progress;
        left = 0;
        for (unsigned int w = 0; w < warps; ++w) left += run_warp(backwards ? warps - 1 - w : w, backwards);
    } while (left && progress != before);
    return !left;
}

// Runs a kernel; every other time the last block and the last thread come first.
static bool launch(unsigned int blocks, unsigned int threads, bool waits, const std::function<void()>& kernel) {
    static unsigned int launches = 0;
    const bool backwards = launches++ % 2;
    gridDim.x = blocks;
    blockDim.x = threads;
    body = &kernel;
    for (unsigned int b = 0; b < blocks; ++b) {
        blockIdx.x = backwards ? blocks - 1 - b : b;
        if (waits) {
            if (!run_block(backwards)) return false;
            continue;
        }
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel();
    }
    return true;
}
