/*
 * fft_ops.h: the passes of the FFT, WIDTH numbers at a time. fft.c includes it once per width, with EE_OPS(name) giving
 * each copy its own names. Every copy does the same operations on each number: the same bits where nothing is fused.
 */

#if WIDTH == 1
typedef float EE_OPS(vec);
#else
typedef float EE_OPS(vec) __attribute__((vector_size(4 * WIDTH)));
typedef float EE_OPS(unaligned) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
#endif
typedef struct {
    EE_OPS(vec) re, im;
} EE_OPS(number);
#define vec EE_OPS(vec)
#define number EE_OPS(number)

/* ---- loads, stores and what moves numbers between lanes ---- */

#if WIDTH == 1
#define LOAD(from) (*(from))
#define STORE(to, value) (*(to) = (value))
#define REVERSED(a) (a)

static inline number EE_OPS(load_pairs)(const float *x) { return (number){x[0], x[1]}; }
static inline void EE_OPS(store_pairs)(float *x, number z) { x[0] = z.re, x[1] = z.im; }
static inline void EE_OPS(store_rows)(float *y, vec v[8])
{
    for (int j = 0; j < 8; j++) y[j] = v[j];
}
#else
#define LOAD(from) ((vec)*(const EE_OPS(unaligned) *)(const void *)(from))
#define STORE(to, value) (*(EE_OPS(unaligned) *)(void *)(to) = (value))
#define MIX __builtin_shufflevector
#if WIDTH == 4
#define REVERSED(a) MIX(a, a, 3, 2, 1, 0)
#define EVEN(a, b) MIX(a, b, 0, 2, 4, 6)
#define ODD(a, b) MIX(a, b, 1, 3, 5, 7)
#define ZIP_LOW(a, b) MIX(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) MIX(a, b, 2, 6, 3, 7)
#define QUARTERS_LOW ZIP_LOW
#define QUARTERS_HIGH ZIP_HIGH
#define HALVES_LOW(a, b) MIX(a, b, 0, 1, 4, 5)
#define HALVES_HIGH(a, b) MIX(a, b, 2, 3, 6, 7)
#else
#define REVERSED(a) MIX(a, a, 7, 6, 5, 4, 3, 2, 1, 0)
#define EVEN(a, b) MIX(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) MIX(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define ZIP_LOW(a, b) MIX(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) MIX(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define QUARTERS_LOW(a, b) MIX(a, b, 0, 8, 1, 9, 4, 12, 5, 13) /* within each half of 4 */
#define QUARTERS_HIGH(a, b) MIX(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define HALVES_LOW(a, b) MIX(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HALVES_HIGH(a, b) MIX(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#endif

static inline number EE_OPS(load_pairs)(const float *x)
{
    vec a = LOAD(x), b = LOAD(x + WIDTH);
    return (number){EVEN(a, b), ODD(a, b)};
}

static inline void EE_OPS(store_pairs)(float *x, number z)
{
    STORE(x, ZIP_LOW(z.re, z.im));
    STORE(x + WIDTH, ZIP_HIGH(z.re, z.im));
}

static inline void EE_OPS(transpose4)(vec v[4])
{
    vec a = QUARTERS_LOW(v[0], v[1]), b = QUARTERS_HIGH(v[0], v[1]);
    vec c = QUARTERS_LOW(v[2], v[3]), d = QUARTERS_HIGH(v[2], v[3]);
    v[0] = HALVES_LOW(a, c), v[1] = HALVES_HIGH(a, c), v[2] = HALVES_LOW(b, d), v[3] = HALVES_HIGH(b, d);
}

/* Lane p of v[0], .., v[7] becomes a row of 8 at y + 2 p LANES. */
static inline void EE_OPS(store_rows)(float *y, vec v[8])
{
    EE_OPS(transpose4)(v);
    EE_OPS(transpose4)(v + 4);
    for (int p = 0; p < 4; p++) {
#if WIDTH == 4
        STORE(y + 2 * p * LANES, v[p]);
        STORE(y + 2 * p * LANES + 4, v[4 + p]);
#else
        STORE(y + 2 * p * LANES, MIX(v[p], v[4 + p], 0, 1, 2, 3, 8, 9, 10, 11));
        STORE(y + 2 * (p + 4) * LANES, MIX(v[p], v[4 + p], 4, 5, 6, 7, 12, 13, 14, 15));
#endif
    }
}
#endif

/* ---- complex numbers ---- */

static inline number EE_OPS(add)(number a, number b) { return (number){a.re + b.re, a.im + b.im}; }
static inline number EE_OPS(sub)(number a, number b) { return (number){a.re - b.re, a.im - b.im}; }
static inline number EE_OPS(turn)(number a) { return (number){a.im, -a.re}; } /* times -i */

static inline number EE_OPS(mul)(number a, vec re, vec im)
{
    return (number){a.re * re - a.im * im, a.re * im + a.im * re};
}

static inline number EE_OPS(mul_all)(number a, float re, float im)
{
    return (number){a.re * re - a.im * im, a.re * im + a.im * re};
}

static inline void EE_OPS(dft2)(number *a, number *b)
{
    number d = EE_OPS(sub)(*a, *b);
    *a = EE_OPS(add)(*a, *b), *b = d;
}

static inline void EE_OPS(dft4)(number *a, number *b, number *c, number *d)
{
    number s = EE_OPS(add)(*a, *c), t = EE_OPS(add)(*b, *d), u = EE_OPS(sub)(*a, *c);
    number v = EE_OPS(turn)(EE_OPS(sub)(*b, *d));
    *a = EE_OPS(add)(s, t), *b = EE_OPS(add)(u, v), *c = EE_OPS(sub)(s, t), *d = EE_OPS(sub)(u, v);
}

static inline void EE_OPS(dft8)(number v[8])
{
    const float h = 0.707106781f; /* sqrt(1/2) */
    for (int i = 0; i < 4; i++) EE_OPS(dft2)(v + i, v + i + 4);
    number a = v[5], b = v[7];
    v[5] = (number){h * (a.re + a.im), h * (a.im - a.re)};
    v[6] = EE_OPS(turn)(v[6]);
    v[7] = (number){h * (b.im - b.re), -h * (b.re + b.im)};
    EE_OPS(dft4)(v, v + 1, v + 2, v + 3);
    EE_OPS(dft4)(v + 4, v + 5, v + 6, v + 7);
    number odd[4] = {v[4], v[5], v[6], v[7]};
    v[6] = v[3], v[4] = v[2], v[2] = v[1];
    v[1] = odd[0], v[3] = odd[1], v[5] = odd[2], v[7] = odd[3];
}

/* ---- passes ---- */

/* x: N pairs; y: blocks */
static void EE_OPS(first_pass)(const ee_fft *fft, const float *restrict x, float *restrict y)
{
    int count = fft->n / 16;
    for (int p = 0; p < count; p += WIDTH, x += 2 * WIDTH, y += 2 * LANES * WIDTH) {
        const float *restrict w = fft->first + p / LANES * LANES * TWIDDLES + p % LANES;
        number v[8];
        for (int j = 0; j < 8; j++) v[j] = EE_OPS(load_pairs)(x + 2 * count * j);
        EE_OPS(dft8)(v);
        for (int j = 1; j < 8; j++, w += 2 * LANES) v[j] = EE_OPS(mul)(v[j], LOAD(w), LOAD(w + LANES));
        vec re[8], im[8];
        for (int j = 0; j < 8; j++) re[j] = v[j].re, im[j] = v[j].im;
        EE_OPS(store_rows)(y, re);
        EE_OPS(store_rows)(y + LANES, im);
    }
}

/* `count` butterflies, each over the `stride` numbers that the passes before have brought together */
static void EE_OPS(middle_pass)(int half, int count, const float *restrict w, const float *restrict x,
                                float *restrict y)
{
    int stride = half / 8 / count, leg = half / 4;
    for (int p = 0; p < count; p++, w += TWIDDLES, y += 14 * stride)
        for (int q = 0; q < stride; q += LANES, x += 2 * LANES, y += 2 * LANES)
            for (int k = 0; k < LANES; k += WIDTH) {
                number v[8];
                for (int j = 0; j < 8; j++) v[j] = (number){LOAD(x + j * leg + k), LOAD(x + j * leg + k + LANES)};
                EE_OPS(dft8)(v);
                for (int j = 1; j < 8; j++) v[j] = EE_OPS(mul_all)(v[j], w[2 * j - 2], w[2 * j - 1]);
                for (int j = 0; j < 8; j++) {
                    STORE(y + 2 * j * stride + k, v[j].re);
                    STORE(y + 2 * j * stride + k + LANES, v[j].im);
                }
            }
}

/* No twiddles. y: real parts and, half + 1 floats on, imaginary ones; or pairs, imaginary parts first. The first
 * from / radix of the outputs are left out. */
static inline void EE_OPS(last_pass)(int half, int radix, int pairs, int from, const float *restrict x,
                                     float *restrict y)
{
    int stride = half / radix;
    for (int q = 0; q < stride; q += LANES, x += 2 * LANES)
        for (int k = 0; k < LANES; k += WIDTH) {
            number v[8];
            for (int j = 0; j < radix; j++)
                v[j] = (number){LOAD(x + 2 * j * stride + k), LOAD(x + 2 * j * stride + k + LANES)};
            if (radix == 8) EE_OPS(dft8)(v);
            else if (radix == 4) EE_OPS(dft4)(v, v + 1, v + 2, v + 3);
            else EE_OPS(dft2)(v, v + 1);
            for (int j = from; j < radix; j++) {
                int at = j * stride + q + k;
                if (pairs) EE_OPS(store_pairs)(y + 2 * at, (number){v[j].im, v[j].re});
                else STORE(y + at, v[j].re), STORE(y + half + 1 + at, v[j].im);
            }
        }
}

/* All passes but the last; its radix. Returns which work[] has the result. x: N pairs, not in work[0]. */
static inline int EE_OPS(passes)(ee_fft *fft, const float *x, int *radix)
{
    const float *w = fft->middle;
    int half = fft->n / 2, length = half / 8, at = 0;
    EE_OPS(first_pass)(fft, x, fft->work[0]);
    for (; length > LANES; length /= 8, at = 1 - at) {
        EE_OPS(middle_pass)(half, length / 8, w, fft->work[at], fft->work[1 - at]);
        w += length / 8 * TWIDDLES;
    }
    *radix = length;
    return at;
}

/* Transforms of the even and of the odd samples, added: bins from 0 up (low) and from n/2 down (high). */
static inline void EE_OPS(split)(int half, const float *w, const float *z, float *X)
{
    const float *up = z, *down = z + half - (WIDTH - 1);
    float *low = X, *high = X + half - (WIDTH - 1);
    for (int k = 0; k < half / 2; k += WIDTH) {
        vec zr = LOAD(up + k), zi = LOAD(up + half + 1 + k);
        vec mr = REVERSED(LOAD(down - k)), mi = REVERSED(LOAD(down + half + 1 - k));
        number b = EE_OPS(mul)((number){zi + mi, mr - zr}, LOAD(w + k), LOAD(w + half / 2 + k));
        vec ar = 0.5f * (zr + mr), ai = 0.5f * (zi - mi), hr = ar - b.re, hi = b.im - ai;
        STORE(low + k, ar + b.re);
        STORE(low + half + 1 + k, ai + b.im);
        STORE(high - k, REVERSED(hr));
        STORE(high + half + 1 - k, REVERSED(hi));
    }
}

static void EE_OPS(forward)(ee_fft *fft, const float *x, float *X)
{
    int half = fft->n / 2, radix, at = EE_OPS(passes)(fft, x, &radix);
    float *from = fft->work[at], *z = fft->work[1 - at];
    if (radix == 8) EE_OPS(last_pass)(half, 8, 0, 0, from, z);
    else if (radix == 4) EE_OPS(last_pass)(half, 4, 0, 0, from, z);
    else EE_OPS(last_pass)(half, 2, 0, 0, from, z);
    z[half] = z[0], z[2 * half + 1] = z[half + 1];
    EE_OPS(split)(half, fft->split, z, X);
    X[half / 2] = z[half / 2];
    X[half + 1 + half / 2] = -z[half + 1 + half / 2];
    X[half + 1] = X[2 * half + 1] = 0.0f;
}

/* The inverse of split, times `scale`; z: N + 1 pairs, imaginary parts first. */
static inline void EE_OPS(join)(int half, float scale, const float *w, const float *X, float *z)
{
    const float *up = X, *down = X + half - (WIDTH - 1);
    float *low = z, *high = z + 2 * (half - (WIDTH - 1));
    for (int k = 0; k < half / 2; k += WIDTH) {
        vec Xr = LOAD(up + k), Xi = LOAD(up + half + 1 + k), wr = LOAD(w + k), wi = LOAD(w + half / 2 + k);
        vec Mr = REVERSED(LOAD(down - k)), Mi = REVERSED(LOAD(down + half + 1 - k));
        vec ar = scale * (Xr + Mr), ai = scale * (Xi - Mi);
        vec tr = 2.0f * scale * (Xr - Mr), ti = 2.0f * scale * (Xi + Mi);
        vec br = tr * wr + ti * wi, bi = ti * wr - tr * wi, hr = ar + bi, hi = br - ai;
        EE_OPS(store_pairs)(low + 2 * k, (number){ai + br, ar - bi});
        EE_OPS(store_pairs)(high - 2 * k, (number){REVERSED(hi), REVERSED(hr)});
    }
}

static void EE_OPS(inverse)(ee_fft *fft, const float *X, float *x, int tail)
{
    int half = fft->n / 2, radix;
    float scale = 1.0f / (float)fft->n, *z = fft->work[1];
    EE_OPS(join)(half, scale, fft->split, X, z);
    z[0] = scale * (X[0] - X[half]);
    z[1] = scale * (X[0] + X[half]);
    z[half] = -2.0f * scale * X[half + 1 + half / 2];
    z[half + 1] = 2.0f * scale * X[half / 2];
    const float *from = fft->work[EE_OPS(passes)(fft, z, &radix)];
    if (radix == 8 && tail) EE_OPS(last_pass)(half, 8, 1, 6, from, x);
    else if (radix == 8) EE_OPS(last_pass)(half, 8, 1, 0, from, x);
    else if (radix == 4 && tail) EE_OPS(last_pass)(half, 4, 1, 3, from, x);
    else if (radix == 4) EE_OPS(last_pass)(half, 4, 1, 0, from, x);
    else EE_OPS(last_pass)(half, 2, 1, 0, from, x);
}

#undef LOAD
#undef STORE
#undef REVERSED
#undef MIX
#undef EVEN
#undef ODD
#undef ZIP_LOW
#undef ZIP_HIGH
#undef QUARTERS_LOW
#undef QUARTERS_HIGH
#undef HALVES_LOW
#undef HALVES_HIGH
#undef vec
#undef number
