/*
 * fft.c: real FFT of powers of two.
 *
 * A real sequence of n samples is transformed as n/2 complex ones (even samples real, odd ones imaginary) by a Stockham
 * radix-4 transform on planar data, so that the compiler can vectorise the inner loops. A radix-2 step
 * closes lengths that are no power of four.
 */
#include "internal.h"

struct ee_fft {
    int n;                   /* real length */
    float *cosine, *sine;    /* exp(-2 pi i k / n), k = 0..n-1 */
    float *first[6];         /* twiddles of the first step: w, w^2, w^3, real and imaginary, contiguous */
    float *work[4];          /* two planar buffers of n/2 */
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

static void carve(ee_fft *fft, ee_arena *arena, int n)
{
    size_t half = (size_t)n / 2, quarter = (size_t)n / 8;
    float *cosine = ee_arena_floats(arena, (size_t)n), *sine = ee_arena_floats(arena, (size_t)n);
    float *first[6], *work[4];
    for (int i = 0; i < 6; i++) first[i] = ee_arena_floats(arena, quarter);
    for (int i = 0; i < 4; i++) work[i] = ee_arena_floats(arena, half);
    if (!fft) return;
    fft->n = n;
    fft->cosine = cosine;
    fft->sine = sine;
    for (int i = 0; i < 6; i++) fft->first[i] = first[i];
    for (int i = 0; i < 4; i++) fft->work[i] = work[i];
}

size_t ee_fft_size(int n)
{
    if (!ee_is_power_of_two(n) || n < EE_MIN_FFT || n > EE_MAX_FFT) return 0;
    ee_arena arena = {NULL, 0};
    ee_arena_take(&arena, sizeof(ee_fft));
    carve(NULL, &arena, n);
    return arena.used;
}

int ee_fft_init(ee_fft **out, void *memory, size_t bytes, int n)
{
    int code = ee_check_memory(out, memory, bytes, ee_fft_size(n));
    if (code) return code;
    ee_arena arena = {memory, 0};
    ee_fft *fft = ee_arena_take(&arena, sizeof(ee_fft));
    carve(fft, &arena, n);
    for (int k = 0; k < n; k++) {
        double s, c;
        ee_sincos(k, n, &s, &c);
        fft->cosine[k] = (float)c;
        fft->sine[k] = (float)-s;
    }
    for (int p = 0; p < n / 8; p++)
        for (int i = 0; i < 3; i++) { /* the complex transform has length n/2: its root is the table's second */
            fft->first[2 * i][p] = fft->cosine[2 * (i + 1) * p];
            fft->first[2 * i + 1][p] = fft->sine[2 * (i + 1) * p];
        }
    *out = fft;
    return EE_OK;
}

/* First step, stride 1: the inner loop runs over the butterflies. */
static void radix4_first(const ee_fft *fft, int n, const float *restrict xr, const float *restrict xi,
                         float *restrict yr, float *restrict yi)
{
    int m = n / 4;
    const float *restrict w1r = fft->first[0], *restrict w1i = fft->first[1];
    const float *restrict w2r = fft->first[2], *restrict w2i = fft->first[3];
    const float *restrict w3r = fft->first[4], *restrict w3i = fft->first[5];
    for (int p = 0; p < m; p++) {
        float ar = xr[p] + xr[p + 2 * m], ai = xi[p] + xi[p + 2 * m];
        float br = xr[p] - xr[p + 2 * m], bi = xi[p] - xi[p + 2 * m];
        float cr = xr[p + m] + xr[p + 3 * m], ci = xi[p + m] + xi[p + 3 * m];
        float dr = xi[p + m] - xi[p + 3 * m], di = xr[p + 3 * m] - xr[p + m]; /* -i times the difference */
        float er = br + dr, ei = bi + di, fr = ar - cr, fi = ai - ci, gr = br - dr, gi = bi - di;
        yr[4 * p] = ar + cr;
        yi[4 * p] = ai + ci;
        yr[4 * p + 1] = er * w1r[p] - ei * w1i[p];
        yi[4 * p + 1] = er * w1i[p] + ei * w1r[p];
        yr[4 * p + 2] = fr * w2r[p] - fi * w2i[p];
        yi[4 * p + 2] = fr * w2i[p] + fi * w2r[p];
        yr[4 * p + 3] = gr * w3r[p] - gi * w3i[p];
        yi[4 * p + 3] = gr * w3i[p] + gi * w3r[p];
    }
}

/* One butterfly group with fixed twiddles: the inner loop runs over the stride. */
static void radix4_group(int s, const float w[6], int leg, const float *restrict xr, const float *restrict xi,
                         float *restrict yr, float *restrict yi)
{
    for (int q = 0; q < s; q++) {
        float ar = xr[q] + xr[q + 2 * leg], ai = xi[q] + xi[q + 2 * leg];
        float br = xr[q] - xr[q + 2 * leg], bi = xi[q] - xi[q + 2 * leg];
        float cr = xr[q + leg] + xr[q + 3 * leg], ci = xi[q + leg] + xi[q + 3 * leg];
        float dr = xi[q + leg] - xi[q + 3 * leg], di = xr[q + 3 * leg] - xr[q + leg];
        float er = br + dr, ei = bi + di, fr = ar - cr, fi = ai - ci, gr = br - dr, gi = bi - di;
        yr[q] = ar + cr;
        yi[q] = ai + ci;
        yr[q + s] = er * w[0] - ei * w[1];
        yi[q + s] = er * w[1] + ei * w[0];
        yr[q + 2 * s] = fr * w[2] - fi * w[3];
        yi[q + 2 * s] = fr * w[3] + fi * w[2];
        yr[q + 3 * s] = gr * w[4] - gi * w[5];
        yi[q + 3 * s] = gr * w[5] + gi * w[4];
    }
}

static void radix4_step(const ee_fft *fft, int n, int s, const float *xr, const float *xi, float *yr, float *yi)
{
    int m = n / 4, unit = fft->n / n;
    for (int p = 0; p < m; p++) {
        float w[6];
        for (int i = 0; i < 3; i++) {
            w[2 * i] = fft->cosine[(i + 1) * p * unit];
            w[2 * i + 1] = fft->sine[(i + 1) * p * unit];
        }
        radix4_group(s, w, s * m, xr + s * p, xi + s * p, yr + 4 * s * p, yi + 4 * s * p);
    }
}

static void radix2_last(int s, const float *restrict xr, const float *restrict xi, float *restrict yr,
                        float *restrict yi)
{
    for (int q = 0; q < s; q++) {
        yr[q] = xr[q] + xr[q + s];
        yi[q] = xi[q] + xi[q + s];
        yr[q + s] = xr[q] - xr[q + s];
        yi[q + s] = xi[q] - xi[q + s];
    }
}

/* Complex transform of length n/2 of work[re], work[im], in turns between the two buffers; returns where the result is:
 * 0 (work[0], work[1]) or 2. Swapping the roles of re and im (re = 1) gives the unscaled inverse. */
static int transform(ee_fft *fft, int re)
{
    int n = fft->n / 2, s = 1, from = 0;
    while (n > 1) {
        float *xr = fft->work[from + re], *xi = fft->work[from + 1 - re];
        from = 2 - from;
        float *yr = fft->work[from + re], *yi = fft->work[from + 1 - re];
        if (n == 2) radix2_last(s, xr, xi, yr, yi);
        else if (s == 1) radix4_first(fft, n, xr, xi, yr, yi);
        else radix4_step(fft, n, s, xr, xi, yr, yi);
        s *= n == 2 ? 2 : 4;
        n /= n == 2 ? 2 : 4;
    }
    return from;
}

void ee_fft_forward(ee_fft *fft, const float *x, float *X)
{
    int half = fft->n / 2;
    float *restrict er = fft->work[0], *restrict ei = fft->work[1];
    for (int k = 0; k < half; k++) {
        er[k] = x[2 * k];
        ei[k] = x[2 * k + 1];
    }
    int at = transform(fft, 0);
    const float *restrict zr = fft->work[at], *restrict zi = fft->work[at + 1];
    const float *restrict c = fft->cosine, *restrict s = fft->sine;
    float *restrict Xr = X, *restrict Xi = X + half + 1;
    Xr[0] = zr[0] + zi[0];
    Xr[half] = zr[0] - zi[0];
    Xi[0] = Xi[half] = 0.0f;
    for (int k = 1; k < half; k++) { /* even and odd parts of the packed transform */
        float ar = 0.5f * (zr[k] + zr[half - k]), ai = 0.5f * (zi[k] - zi[half - k]);
        float br = 0.5f * (zi[k] + zi[half - k]), bi = 0.5f * (zr[half - k] - zr[k]);
        Xr[k] = ar + (br * c[k] - bi * s[k]);
        Xi[k] = ai + (br * s[k] + bi * c[k]);
    }
}

void ee_fft_inverse(ee_fft *fft, const float *X, float *x)
{
    int half = fft->n / 2;
    const float *restrict Xr = X, *restrict Xi = X + half + 1;
    const float *restrict c = fft->cosine, *restrict s = fft->sine;
    float *restrict zr = fft->work[0], *restrict zi = fft->work[1];
    float scale = 1.0f / (float)fft->n;
    zr[0] = scale * (Xr[0] + Xr[half]);
    zi[0] = scale * (Xr[0] - Xr[half]);
    for (int k = 1; k < half; k++) {
        float ar = Xr[k] + Xr[half - k], ai = Xi[k] - Xi[half - k];
        float tr = Xr[k] - Xr[half - k], ti = Xi[k] + Xi[half - k];
        float br = tr * c[k] + ti * s[k], bi = ti * c[k] - tr * s[k];
        zr[k] = scale * (ar - bi);
        zi[k] = scale * (ai + br);
    }
    int at = transform(fft, 1);
    const float *restrict er = fft->work[at], *restrict ei = fft->work[at + 1];
    for (int k = 0; k < half; k++) {
        x[2 * k] = er[k];
        x[2 * k + 1] = ei[k];
    }
}
