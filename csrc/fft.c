/*
 * fft.c: real FFT of powers of two.
 *
 * A real sequence of n samples is transformed as N = n/2 complex ones (even samples real, odd ones imaginary). The
 * complex transform is Stockham's, without bit reversal: passes of radix 8, the last one of radix 2, 4 or 8 (fft_ops.h).
 * Between passes, numbers lie in blocks of LANES real and LANES imaginary parts: vectors for a processor that has them,
 * constant offsets from one pointer for one that has not.
 */
#include "internal.h"

enum { LANES = 8, TWIDDLES = 14 }; /* of a butterfly: w, w^2, ..., w^7, real and imaginary parts */

struct ee_fft {
    int n;           /* real length */
    float *first;    /* twiddles of the first pass: [N/8/LANES][TWIDDLES][LANES] */
    float *middle;   /* of the passes between first and last, one after the other: [butterfly][TWIDDLES] */
    float *split;    /* exp(-2 pi i k / n) / 2: N/2 real parts, then as many imaginary ones */
    float *work[2];  /* N complex numbers each, and one more */
    void (*forward)(ee_fft *, const float *x, float *X);
    void (*inverse)(ee_fft *, const float *X, float *x, int tail);
};

int ee_is_power_of_two(int n) { return n > 0 && (n & (n - 1)) == 0; }

int ee_check_memory(const void *out, const void *memory, size_t bytes, size_t need)
{
    if (!out || !memory) return EE_ERR_NULL;
    if (!need) return EE_ERR_CONFIG;
    if (bytes < need || (uintptr_t)memory % EE_ALIGN) return EE_ERR_MEMORY;
    return EE_OK;
}

void ee_sincos(int k, int n, double *sine, double *cosine)
{
    const double two_pi = 6.283185307179586476925;
    int eighth = n / 8, octant = k / eighth, rest = k % eighth;
    if (octant & 1) rest = eighth - rest; /* mirror into 0..pi/4, where the series are short */
    double x = two_pi * rest / n, x2 = x * x, s = 0.0, c = 0.0;
    for (int i = 18; i > 0; i -= 2) s = x2 / (i * (i + 1.0)) * (1.0 - s); /* Horner: 1 - sin(x)/x */
    for (int i = 19; i > 0; i -= 2) c = x2 / (i * (i + 1.0)) * (1.0 - c); /* 1 - cos(x) */
    s = x * (1.0 - s);
    c = 1.0 - c;
    int swap = ((octant + 1) >> 1) & 1;
    double a = swap ? c : s, b = swap ? s : c;
    *sine = octant >= 4 ? -a : a;
    *cosine = octant >= 2 && octant < 6 ? -b : b;
}

double ee_one_minus_exp(double x)
{
    int halvings = 0;
    for (; x > 0.25; x *= 0.5) halvings++;
    double term = 1.0, sum = 1.0;
    for (int i = 1; i < 14; i++) {
        term *= -x / i;
        sum += term;
    }
    for (; halvings; halvings--) sum *= sum;
    return 1.0 - sum;
}

/* All butterflies between the first pass, which leaves sequences of N/8 numbers to transform, and the last. */
static size_t middle_butterflies(int n)
{
    size_t count = 0;
    for (int length = n / 16; length > LANES; length /= 8) count += (size_t)length / 8;
    return count;
}

static void carve(ee_fft *fft, ee_arena *arena, int n)
{
    size_t blocks = (size_t)(n / 16 + LANES - 1) / LANES;
    fft->n = n;
    fft->first = ee_arena_floats(arena, blocks * LANES * TWIDDLES);
    fft->middle = ee_arena_floats(arena, middle_butterflies(n) * TWIDDLES);
    fft->split = ee_arena_floats(arena, (size_t)n / 2);
    for (int i = 0; i < 2; i++) fft->work[i] = ee_arena_floats(arena, (size_t)n + 2);
}

size_t ee_fft_size(int n)
{
    if (!ee_is_power_of_two(n) || n < EE_MIN_FFT || n > EE_MAX_FFT) return 0;
    ee_arena arena = {NULL, 0};
    ee_fft nowhere;
    ee_arena_take(&arena, sizeof(ee_fft));
    carve(&nowhere, &arena, n);
    return arena.used;
}

/* exp(-2 pi i k / n) / scale, 0 <= k < n */
static void root(int k, int n, double scale, float *re, float *im)
{
    double sine, cosine;
    ee_sincos(k, n, &sine, &cosine);
    *re = (float)(cosine / scale);
    *im = (float)(-sine / scale);
}

static void make_twiddles(ee_fft *fft)
{
    int n = fft->n;
    float *w = fft->middle;
    for (int p = 0; p < n / 16; p++)
        for (int i = 0; i < 7; i++) {
            float *at = fft->first + p / LANES * LANES * TWIDDLES + 2 * i * LANES + p % LANES;
            root(2 * (i + 1) * p, n, 1.0, at, at + LANES);
        }
    for (int length = n / 16; length > LANES; length /= 8)
        for (int p = 0; p < length / 8; p++)
            for (int i = 0; i < 7; i++, w += 2) root((i + 1) * p * (n / length), n, 1.0, w, w + 1);
    for (int k = 0; k < n / 4; k++) root(k, n, 2.0, fft->split + k, fft->split + n / 4 + k);
}

/* ---- transforms, plain and with vectors ---- */

#define WIDTH 1
#define EE_OPS(name) name##_plain
#include "fft_ops.h"
#undef WIDTH
#undef EE_OPS

#if (defined(__x86_64__) || defined(__aarch64__)) && (defined(__clang__) || __GNUC__ >= 12)
#define HAS_VECTORS 1
#define WIDTH 4
#define EE_OPS(name) name##_vector
#include "fft_ops.h"
#undef WIDTH
#undef EE_OPS
#endif

#if defined(HAS_VECTORS) && defined(__x86_64__)
#define HAS_AVX2 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define WIDTH 8
#define EE_OPS(name) name##_avx2
#include "fft_ops.h"
#undef WIDTH
#undef EE_OPS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void ee_fft_vectorize(ee_fft *fft, int width)
{
    fft->forward = forward_plain;
    fft->inverse = inverse_plain;
#ifdef HAS_VECTORS
    if (width >= 4 && fft->n >= 64) {
        fft->forward = forward_vector;
        fft->inverse = inverse_vector;
    }
#endif
#ifdef HAS_AVX2
    if (width >= 8 && fft->n >= 128 && __builtin_cpu_supports("avx2")) {
        fft->forward = forward_avx2;
        fft->inverse = inverse_avx2;
    }
#endif
    (void)width;
}

int ee_fft_init(ee_fft **out, void *memory, size_t bytes, int n)
{
    int code = ee_check_memory(out, memory, bytes, ee_fft_size(n));
    if (code) return code;
    ee_arena arena = {memory, 0};
    ee_fft *fft = ee_arena_take(&arena, sizeof(ee_fft));
    carve(fft, &arena, n);
    make_twiddles(fft);
    ee_fft_vectorize(fft, LANES);
    *out = fft;
    return EE_OK;
}

void ee_fft_forward(ee_fft *fft, const float *x, float *X) { fft->forward(fft, x, X); }

void ee_fft_inverse(ee_fft *fft, const float *X, float *x) { fft->inverse(fft, X, x, 0); }

void ee_fft_inverse_tail(ee_fft *fft, const float *X, float *x) { fft->inverse(fft, X, x, 1); }
