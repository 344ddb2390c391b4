/*
 * beamform.c: apply weights, recursive noise covariance, MVDR weights. Inner loops run over bins and vectorise.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

#ifdef __x86_64__
#define LANES 16 /* bins solved side by side: two vectors, so that roots and divisions overlap */
#else
#define LANES 8
#endif
#define PIVOT_FLOOR 1e-6f
#define LARGEST 1e6f /* of |w|^2: what raises the microphones' own noise by 60 dB is no beam */

/* Plane of entry (i, j), j <= i, of a packed Hermitian matrix. */
static int plane(int i, int j) { return i * i + 2 * j; }

/* y = w^H x of one microphone; `more`: added to what y holds */
EE_INLINE void apply_one(const float *restrict w, const float *restrict x, int bins, int more, float *restrict yr,
                         float *restrict yi)
{
    for (int f = 0; f < bins; f++) {
        yr[f] = (more ? yr[f] : 0.0f) + (w[f] * x[f] + w[bins + f] * x[bins + f]);
        yi[f] = (more ? yi[f] : 0.0f) + (w[f] * x[bins + f] - w[bins + f] * x[f]);
    }
}

/* The same for two, which read and write y once. */
EE_INLINE void apply_two(const float *restrict w, const float *restrict x, int bins, int more, float *restrict yr,
                         float *restrict yi)
{
    const float *restrict v = w + 2 * bins, *restrict z = x + 2 * bins;
    for (int f = 0; f < bins; f++) {
        yr[f] = (more ? yr[f] : 0.0f) + (w[f] * x[f] + w[bins + f] * x[bins + f])
              + (v[f] * z[f] + v[bins + f] * z[bins + f]);
        yi[f] = (more ? yi[f] : 0.0f) + (w[f] * x[bins + f] - w[bins + f] * x[f])
              + (v[f] * z[bins + f] - v[bins + f] * z[f]);
    }
}

EE_VECTOR static void apply(const float *w, const float *X, int mics, int bins, float *y)
{
    int m = mics % 2;
    if (m) apply_one(w, X, bins, 0, y, y + bins);
    else apply_two(w, X, bins, 0, y, y + bins);
    for (m = m ? 1 : 2; m < mics; m += 2) apply_two(w + 2 * m * bins, X + 2 * m * bins, bins, 1, y, y + bins);
}

void ee_beam_apply(const float *w, const float *X, int mics, int bins, float *y)
{
    apply(w, X, mics, bins, y);
}

EE_INLINE void update_diagonal(float *restrict r, const float *restrict x, const float *restrict rate, int bins)
{
    for (int f = 0; f < bins; f++) r[f] += rate[f] * (x[f] * x[f] + x[bins + f] * x[bins + f] - r[f]);
}

EE_INLINE void update_pair(float *restrict re, float *restrict im, const float *restrict a, const float *restrict b,
                           const float *restrict rate, int bins)
{
    for (int f = 0; f < bins; f++) {
        re[f] += rate[f] * (a[f] * b[f] + a[bins + f] * b[bins + f] - re[f]);
        im[f] += rate[f] * (a[bins + f] * b[f] - a[f] * b[bins + f] - im[f]);
    }
}

EE_VECTOR static void update(float *R, const float *X, const float *rate, int mics, int bins)
{
    for (int i = 0; i < mics; i++) {
        const float *a = X + 2 * i * bins;
        for (int j = 0; j < i; j++) {
            float *r = R + plane(i, j) * bins;
            update_pair(r, r + bins, a, X + 2 * j * bins, rate, bins);
        }
        update_diagonal(R + plane(i, i) * bins, a, rate, bins);
    }
}

void ee_covariance_update(float *R, const float *X, const float *rate, int mics, int bins)
{
    update(R, X, rate, mics, bins);
}

EE_INLINE void update_diagonals(float *restrict r, float *restrict s, const float *restrict x, const float *restrict r_rate,
                                const float *restrict s_rate, int bins)
{
    for (int f = 0; f < bins; f++) {
        float square = x[f] * x[f] + x[bins + f] * x[bins + f];
        r[f] += r_rate[f] * (square - r[f]);
        s[f] += s_rate[f] * (square - s[f]);
    }
}

EE_INLINE void update_pairs(float *restrict r, float *restrict s, const float *restrict a, const float *restrict b,
                            const float *restrict r_rate, const float *restrict s_rate, int bins)
{
    float *restrict r_im = r + bins, *restrict s_im = s + bins;
    for (int f = 0; f < bins; f++) {
        float re = a[f] * b[f] + a[bins + f] * b[bins + f], im = a[bins + f] * b[f] - a[f] * b[bins + f];
        r[f] += r_rate[f] * (re - r[f]);
        s[f] += s_rate[f] * (re - s[f]);
        r_im[f] += r_rate[f] * (im - r_im[f]);
        s_im[f] += s_rate[f] * (im - s_im[f]);
    }
}

EE_VECTOR static void update_both(float *R, const float *r_rate, float *S, const float *s_rate, const float *X, int mics,
                                  int bins)
{
    for (int i = 0; i < mics; i++) {
        const float *a = X + 2 * i * bins;
        for (int j = 0; j < i; j++) {
            int at = plane(i, j) * bins;
            update_pairs(R + at, S + at, a, X + 2 * j * bins, r_rate, s_rate, bins);
        }
        update_diagonals(R + plane(i, i) * bins, S + plane(i, i) * bins, a, r_rate, s_rate, bins);
    }
}

void ee_covariances_update(float *R, const float *r_rate, float *S, const float *s_rate, const float *X, int mics, int bins)
{
    update_both(R, r_rate, S, s_rate, X, mics, bins);
}

/* One batch of bins: A (packed planes of LANES, then its Cholesky factor in place) and d (then the solution). */
typedef struct {
    float A[EE_MAX_MICS * EE_MAX_MICS][LANES];
    float d[2 * EE_MAX_MICS][LANES];
} batch;

EE_INLINE void load_matrix(batch *s, const float *R, const float *prior, float prior_weight, int mics, int bins, int at)
{
    float scale[LANES] = {0};
    for (int m = 0; m < mics; m++)
        for (int l = 0; l < LANES; l++) scale[l] += R[plane(m, m) * bins + at + l];
    for (int l = 0; l < LANES; l++) scale[l] = scale[l] > 1e-30f ? (float)mics / scale[l] : 0.0f;
    for (int p = 0; p < mics * mics; p++)
        for (int l = 0; l < LANES; l++)
            s->A[p][l] = R[p * bins + at + l] * scale[l] + prior_weight * prior[p * bins + at + l];
}

EE_INLINE void leave_out(batch *s, unsigned skip, int mics)
{
    for (int i = 0; i < mics; i++)
        for (int j = 0; j <= i; j++) {
            if (!((skip >> i | skip >> j) & 1u)) continue;
            for (int l = 0; l < LANES; l++) {
                s->A[plane(i, j)][l] = i == j ? 1.0f : 0.0f;
                if (i != j) s->A[plane(i, j) + 1][l] = 0.0f;
            }
        }
    for (int m = 0; m < mics; m++)
        if (skip >> m & 1u) memset(s->d[2 * m], 0, 2 * sizeof s->d[0]);
}

/* target -= a * conj(b), per lane; complex numbers are two rows of LANES */
EE_INLINE void subtract_product(float (*restrict target)[LANES], float (*restrict a)[LANES], float (*restrict b)[LANES])
{
    for (int l = 0; l < LANES; l++) {
        target[0][l] -= a[0][l] * b[0][l] + a[1][l] * b[1][l];
        target[1][l] -= a[1][l] * b[0][l] - a[0][l] * b[1][l];
    }
}

/* A = L L^H in place; the diagonal keeps 1 / l_ii. */
EE_INLINE void factor(batch *s, int mics)
{
    for (int i = 0; i < mics; i++) {
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < j; k++) subtract_product(s->A + plane(i, j), s->A + plane(i, k), s->A + plane(j, k));
            for (int l = 0; l < LANES; l++) {
                s->A[plane(i, j)][l] *= s->A[plane(j, j)][l];
                s->A[plane(i, j) + 1][l] *= s->A[plane(j, j)][l];
            }
        }
        float *pivot = s->A[plane(i, i)];
        for (int k = 0; k < i; k++)
            for (int l = 0; l < LANES; l++) {
                float re = s->A[plane(i, k)][l], im = s->A[plane(i, k) + 1][l];
                pivot[l] -= re * re + im * im;
            }
        for (int l = 0; l < LANES; l++) pivot[l] = 1.0f / sqrtf(pivot[l] > PIVOT_FLOOR ? pivot[l] : PIVOT_FLOOR);
    }
}

EE_INLINE void scale_entry(batch *s, int i)
{
    for (int l = 0; l < LANES; l++) {
        s->d[2 * i][l] *= s->A[plane(i, i)][l];
        s->d[2 * i + 1][l] *= s->A[plane(i, i)][l];
    }
}

/* d -> A^-1 d / (d^H A^-1 d), by forward and back substitution */
EE_INLINE void solve(batch *s, int mics)
{
    float power[LANES] = {0};
    for (int i = 0; i < mics; i++) {
        for (int k = 0; k < i; k++)
            for (int l = 0; l < LANES; l++) {
                float re = s->A[plane(i, k)][l], im = s->A[plane(i, k) + 1][l];
                s->d[2 * i][l] -= re * s->d[2 * k][l] - im * s->d[2 * k + 1][l];
                s->d[2 * i + 1][l] -= re * s->d[2 * k + 1][l] + im * s->d[2 * k][l];
            }
        scale_entry(s, i);
        for (int l = 0; l < LANES; l++) power[l] += s->d[2 * i][l] * s->d[2 * i][l] + s->d[2 * i + 1][l] * s->d[2 * i + 1][l];
    }
    for (int i = mics - 1; i >= 0; i--) {
        for (int k = i + 1; k < mics; k++) subtract_product(s->d + 2 * i, s->d + 2 * k, s->A + plane(k, i));
        scale_entry(s, i);
    }
    for (int l = 0; l < LANES; l++) power[l] = power[l] > 1e-30f ? 1.0f / power[l] : 0.0f;
    for (int i = 0; i < 2 * mics; i++)
        for (int l = 0; l < LANES; l++) s->d[i][l] *= power[l];
}

/* Rounding may leave R with a negative eigenvalue when a sound ends and R forgets it at once; the solution can then be of
 * any size. There: delay-and-sum. */
EE_INLINE void rescue(batch *s, const float *d, unsigned skip, int mics, int bins, int at)
{
    float size[LANES] = {0};
    for (int i = 0; i < 2 * mics; i++)
        for (int l = 0; l < LANES; l++) size[l] += s->d[i][l] * s->d[i][l];
    for (int l = 0; l < LANES; l++) {
        if (size[l] < LARGEST) continue; /* NaN is not */
        float length = 0.0f;
        for (int i = 0; i < 2 * mics; i++) {
            s->d[i][l] = skip >> i / 2 & 1u ? 0.0f : d[i * bins + at + l];
            length += s->d[i][l] * s->d[i][l];
        }
        for (int i = 0; i < 2 * mics; i++) s->d[i][l] = length > 1e-30f ? s->d[i][l] / length : 0.0f;
    }
}

EE_VECTOR static void mvdr(const float *R, const float *prior, float prior_weight, const float *d, unsigned skip, int mics,
                           int bins, int first, int count, float *w)
{
    batch s;
    for (int at = first; at < first + count; at += LANES) {
        int start = at + LANES <= bins ? at : bins - LANES; /* reads stay inside; only bins of the range are written */
        int end = at + LANES < first + count ? at + LANES : first + count;
        load_matrix(&s, R, prior, prior_weight, mics, bins, start);
        for (int i = 0; i < 2 * mics; i++) memcpy(s.d[i], d + i * bins + start, sizeof s.d[i]);
        leave_out(&s, skip, mics);
        factor(&s, mics);
        solve(&s, mics);
        rescue(&s, d, skip, mics, bins, start);
        for (int i = 0; i < 2 * mics; i++)
            memcpy(w + i * bins + at, s.d[i] + (at - start), (size_t)(end - at) * sizeof(float));
    }
}

void ee_mvdr_weights(const float *R, const float *prior, float prior_weight, const float *d, unsigned skip, int mics,
                     int bins, int first, int count, float *w)
{
    mvdr(R, prior, prior_weight, d, skip, mics, bins, first, count, w);
}
