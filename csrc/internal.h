/* internal.h: shared by the kernel's files, not by its users. */
#ifndef EE_INTERNAL_H
#define EE_INTERNAL_H

/* The shared library exports what the public header declares; the rest is hidden (CMakeLists.txt). */
#ifdef EE_SHARED
#pragma GCC visibility push(default)
#endif
#include "edgeenhance.h"
#ifdef EE_SHARED
#pragma GCC visibility pop
#endif

#define EE_ALIGN 16
#define EE_ABSURD 1e6f /* +120 dBFS: samples beyond are muted like NaN */

/* Before a static function (others would be exported): compiled for AVX2, too, and chosen when the program is loaded.
 * Never with FMA: the bits stay the same. What it calls must be inlined, EE_INLINE, to be compiled with it. Not under
 * sanitizers, which are not ready when the choice is made; GCC alone. */
#ifdef EE_VECTOR /* empty on the command line: nothing is chosen */
#elif defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) \
    && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EE_VECTOR __attribute__((target_clones("avx2", "default")))
#else
#define EE_VECTOR
#endif
#ifdef __GNUC__
#define EE_INLINE static inline __attribute__((always_inline))
#else
#define EE_INLINE static inline
#endif

#define EE_LANES 8 /* sums run side by side in so many parts, in this order on every machine */

EE_INLINE float ee_sum_lanes(const float lanes[EE_LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

EE_INLINE float ee_sum(const float *x, int count)
{
    float lanes[EE_LANES] = {0};
    int i = 0;
    for (; i + EE_LANES <= count; i += EE_LANES)
        for (int l = 0; l < EE_LANES; l++) lanes[l] += x[i + l];
    for (int l = 0; i + l < count; l++) lanes[l] += x[i + l];
    return ee_sum_lanes(lanes);
}

/* Hands out aligned pieces of one block of caller memory. With base NULL it only counts. */
typedef struct {
    char *base;
    size_t used;
} ee_arena;

static inline void *ee_arena_take(ee_arena *arena, size_t bytes)
{
    void *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += (bytes + EE_ALIGN - 1) & ~(size_t)(EE_ALIGN - 1);
    return piece;
}

static inline float *ee_arena_floats(ee_arena *arena, size_t count)
{
    return (float *)ee_arena_take(arena, count * sizeof(float));
}

/* 0, or why `memory` cannot hold a state of `need` bytes (0: bad configuration). */
int ee_check_memory(const void *out, const void *memory, size_t bytes, size_t need);

/* sin and cos of 2 pi k / n in double, 0 <= k < n, n a multiple of 8, without libm: the same bits everywhere. */
void ee_sincos(int k, int n, double *sine, double *cosine);

/* 1 - exp(-x), x >= 0, without libm. */
double ee_one_minus_exp(double x);

int ee_is_power_of_two(int n);

/* As ee_fft_inverse, but only the last quarter of x is written (it may be more). */
void ee_fft_inverse_tail(ee_fft *fft, const float *X, float *x);

/* How many numbers the transform may take at a time, 1, 4 or 8, where the machine can (8 after init): the same bits. */
void ee_fft_vectorize(ee_fft *fft, int width);

/* Whether a network may use the vector instructions found on this machine (it does after init): the same bits. */
void ee_net_vectorize(ee_net *net, int wanted);

/* ee_covariance_update of R and S, whose products are the same. */
void ee_covariances_update(float *R, const float *r_rate, float *S, const float *s_rate, const float *X, int mics, int bins);

/* ---- between two threads ----
 * They share single words, through these alone: GCC's and Clang's generic atomics. Another compiler may be given its own
 * on the command line; acquire and release order must hold. On a single core volatile accesses do, EXCHANGE with
 * interrupts off. */
#ifndef EE_ATOMIC_LOAD /* *to = *at */
#define EE_ATOMIC_LOAD(at, to) __atomic_load(at, to, __ATOMIC_ACQUIRE)
#endif
#ifndef EE_ATOMIC_STORE /* *at = *from */
#define EE_ATOMIC_STORE(at, from) __atomic_store(at, from, __ATOMIC_RELEASE)
#endif
#ifndef EE_ATOMIC_EXCHANGE /* *to = *at, *at = *from */
#define EE_ATOMIC_EXCHANGE(at, from, to) __atomic_exchange(at, from, to, __ATOMIC_ACQ_REL)
#endif

/* ---- output limiter (limiter.c) ---- */

typedef struct {
    float ceiling, gain, release; /* largest sample that it lets out; at the end of the last hop; rise per hop */
} ee_limiter;

void ee_limiter_tune(ee_limiter *l, float ceiling, double hop_seconds);
/* y[frames][channels], in place: no sample above the ceiling. Returns the least gain of the hop, 1: untouched. */
float ee_limiter_hop(ee_limiter *l, float *y, int frames, int channels);

/* ---- the talker's direction (track.c) ---- */

#define EE_LOOK_BEYOND 2 /* turns outside the range that are compared, too */

typedef struct {
    int steps, mics, bins, first, last, per_hop;  /* steps to either side; bins looked at; directions tried per hop */
    const float *turn;                            /* [mics][2][bins] phases of one turn, in ee_beam */
    float *look, *tried;                          /* [mics][2][bins] phases of the look; direction tried */
    float *scratch;                               /* [3][bins] */
    float scores[2 * (EE_MAX_LOOK_STEPS + EE_LOOK_BEYOND) + 1];  /* of directions 0, 1, .. reach, -1, .. -reach */
    int at;                                       /* the direction to try next, of these */
    int turned;                                   /* the look, turns to the left */
} ee_track;

/* Sets the pointers but for arena->base NULL, where it only counts. The caller sets `steps` and `turn`. */
void ee_track_carve(ee_track *t, ee_arena *arena, int mics, int bins);
void ee_track_tune(ee_track *t, int sample_rate, int analysis, double hop_seconds);
void ee_track_reset(ee_track *t);
/* One hop. d: steering as designed; phi, noise: covariances of talker and noise. Returns 1 when the look has turned. */
int ee_track_hop(ee_track *t, const float *d, const float *phi, const float *noise);

#endif
