/*
 * beamform.c: apply weights, recursive noise covariance, MVDR weights. Inner loops run over bins and vectorise.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

#define LANES 8 /* bins solved side by side */
#define PIVOT_FLOOR 1e-6f
#define LARGEST 1e6f /* of |w|^2: what raises the microphones' own noise by 60 dB is no beam */

/* Plane of entry (i, j), j <= i, of a packed Hermitian matrix. */
static int plane(int i, int j) { return i * i + 2 * j; }

void ee_beam_apply(const float *w, const float *X, int mics, int bins, float *y)
{
    memset(y, 0, 2 * (size_t)bins * sizeof(float));
    for (int m = 0; m < mics; m++) {
        const float *restrict wr = w + 2 * m * bins, *restrict wi = wr + bins;
        const float *restrict xr = X + 2 * m * bins, *restrict xi = xr + bins;
        float *restrict yr = y, *restrict yi = y + bins;
        for (int f = 0; f < bins; f++) {
            yr[f] += wr[f] * xr[f] + wi[f] * xi[f];
            yi[f] += wr[f] * xi[f] - wi[f] * xr[f];
        }
    }
}

static void update_diagonal(float *restrict r, const float *restrict x, const float *restrict rate, int bins)
{
    for (int f = 0; f < bins; f++) r[f] += rate[f] * (x[f] * x[f] + x[bins + f] * x[bins + f] - r[f]);
}

static void update_pair(float *restrict r, const float *restrict a, const float *restrict b,
                        const float *restrict rate, int bins)
{
    for (int f = 0; f < bins; f++) {
        float re = a[f] * b[f] + a[bins + f] * b[bins + f], im = a[bins + f] * b[f] - a[f] * b[bins + f];
        r[f] += rate[f] * (re - r[f]);
        r[bins + f] += rate[f] * (im - r[bins + f]);
    }
}

void ee_covariance_update(float *R, const float *X, const float *rate, int mics, int bins)
{
    for (int i = 0; i < mics; i++) {
        const float *a = X + 2 * i * bins;
        for (int j = 0; j < i; j++) update_pair(R + plane(i, j) * bins, a, X + 2 * j * bins, rate, bins);
        update_diagonal(R + plane(i, i) * bins, a, rate, bins);
    }
}

/* One batch of bins: A (packed planes of LANES, then its Cholesky factor in place) and d (then the solution). */
typedef struct {
    float A[EE_MAX_MICS * EE_MAX_MICS][LANES];
    float d[2 * EE_MAX_MICS][LANES];
} batch;

static void load_matrix(batch *s, const float *R, const float *prior, float prior_weight, int mics, int bins, int at)
{
    float scale[LANES] = {0};
    for (int m = 0; m < mics; m++)
        for (int l = 0; l < LANES; l++) scale[l] += R[plane(m, m) * bins + at + l];
    for (int l = 0; l < LANES; l++) scale[l] = scale[l] > 1e-30f ? (float)mics / scale[l] : 0.0f;
    for (int p = 0; p < mics * mics; p++)
        for (int l = 0; l < LANES; l++)
            s->A[p][l] = R[p * bins + at + l] * scale[l] + prior_weight * prior[p * bins + at + l];
}

static void leave_out(batch *s, unsigned skip, int mics)
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
static void subtract_product(float (*restrict target)[LANES], float (*restrict a)[LANES], float (*restrict b)[LANES])
{
    for (int l = 0; l < LANES; l++) {
        target[0][l] -= a[0][l] * b[0][l] + a[1][l] * b[1][l];
        target[1][l] -= a[1][l] * b[0][l] - a[0][l] * b[1][l];
    }
}

/* A = L L^H in place; the diagonal keeps 1 / l_ii. */
static void factor(batch *s, int mics)
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

static void scale_entry(batch *s, int i)
{
    for (int l = 0; l < LANES; l++) {
        s->d[2 * i][l] *= s->A[plane(i, i)][l];
        s->d[2 * i + 1][l] *= s->A[plane(i, i)][l];
    }
}

/* d -> A^-1 d / (d^H A^-1 d), by forward and back substitution */
static void solve(batch *s, int mics)
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
static void rescue(batch *s, const float *d, unsigned skip, int mics, int bins, int at)
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

void ee_mvdr_weights(const float *R, const float *prior, float prior_weight, const float *d, unsigned skip, int mics,
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
