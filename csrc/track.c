/*
 * track.c: follows the talker around the look direction.
 *
 * Delay-and-sum towards d lets d^H Phi d / (d^H d tr(Phi)) of the talker's covariance Phi through. Half of the noise
 * covariance is taken off Phi first, because Phi has heard noise, too. The mean over bins is compared for directions
 * 0, 1, .. -1, .. turns away, one or a few per hop, up to EE_LOOK_BEYOND the range; then the look goes one turn towards
 * the best, within the range. Who is best at the very end of what is compared speaks elsewhere: the look stays.
 * A turn multiplies every microphone by phases: w^H d = 1 and nulls stay what they are.
 */
#include <string.h>

#include "internal.h"

#define LOWEST_HZ 300
#define HIGHEST_HZ 5000
#define TRY_SECONDS 0.004 /* per direction */
#define NOISE_SHARE 0.5f
#define LEAN 6e-4f /* times turns squared: what a direction far off must be better by */

void ee_track_carve(ee_track *t, ee_arena *arena, int mics, int bins)
{
    size_t array = 2 * (size_t)(mics * bins);
    t->mics = mics;
    t->bins = bins;
    t->look = ee_arena_floats(arena, array);
    t->tried = ee_arena_floats(arena, array);
    t->scratch = ee_arena_floats(arena, 3 * (size_t)bins);
}

void ee_track_tune(ee_track *t, int sample_rate, int analysis, double hop_seconds)
{
    int per_hop = (int)(hop_seconds / TRY_SECONDS + 0.5), last = HIGHEST_HZ * analysis / sample_rate;
    t->per_hop = per_hop > 1 ? per_hop : 1;
    t->first = LOWEST_HZ * analysis / sample_rate;
    t->last = last < t->bins ? last : t->bins;
}

EE_INLINE void turn_one(float *restrict re, float *restrict im, const float *restrict turn, float sign, int bins,
                        int count)
{
    for (int f = 0; f < count; f++) {
        float real = re[f] * turn[f] - sign * im[f] * turn[bins + f];
        im[f] = im[f] * turn[f] + sign * re[f] * turn[bins + f];
        re[f] = real;
    }
}

/* x *= turn, bins first..last - 1; with sign -1 turn to the right. */
EE_VECTOR static void turn_on(const ee_track *t, float *x, float sign, int first, int last)
{
    int bins = t->bins;
    for (int m = 0; m < t->mics; m++) {
        float *re = x + 2 * m * bins + first;
        turn_one(re, re + bins, t->turn + 2 * m * bins + first, sign, bins, last - first);
    }
}

/* Phases of the look, from the start: no rounding piles up. */
static void face(ee_track *t)
{
    int left = t->turned > 0, count = left ? t->turned : -t->turned;
    memset(t->look, 0, 2 * (size_t)(t->mics * t->bins) * sizeof(float));
    for (int m = 0; m < t->mics; m++)
        for (int f = 0; f < t->bins; f++) t->look[2 * m * t->bins + f] = 1.0f;
    for (int i = 0; i < count; i++) turn_on(t, t->look, left ? 1.0f : -1.0f, 0, t->bins);
}

void ee_track_reset(ee_track *t)
{
    t->at = t->turned = 0;
    face(t);
}

/* power += 2 Re(conj(a) P b), P = phi - NOISE_SHARE noise: entry (i, j) of both, a and b microphones i and j of d */
EE_INLINE void add_pair(const ee_track *t, const float *restrict a, const float *restrict b, const float *restrict phi,
                        const float *restrict noise, float *restrict power)
{
    int bins = t->bins;
    for (int f = t->first; f < t->last; f++) {
        float pr = phi[f] - NOISE_SHARE * noise[f], pi = phi[bins + f] - NOISE_SHARE * noise[bins + f];
        float re = a[f] * b[f] + a[bins + f] * b[bins + f], im = a[f] * b[bins + f] - a[bins + f] * b[f];
        power[f] += 2.0f * (re * pr - im * pi);
    }
}

/* Mean over bins of d^H P d / (d^H d tr(Phi)), d the direction tried. */
EE_VECTOR static float score(const ee_track *t, const float *phi, const float *noise)
{
    int bins = t->bins;
    float *restrict power = t->scratch, *restrict trace = power + bins, *restrict length = trace + bins;
    memset(t->scratch, 0, 3 * (size_t)bins * sizeof(float));
    for (int i = 0; i < t->mics; i++) {
        const float *restrict a = t->tried + 2 * i * bins;
        const float *restrict own = phi + (i * i + 2 * i) * bins, *restrict other = noise + (i * i + 2 * i) * bins;
        for (int f = t->first; f < t->last; f++) {
            float square = a[f] * a[f] + a[bins + f] * a[bins + f];
            power[f] += square * (own[f] - NOISE_SHARE * other[f]);
            trace[f] += own[f];
            length[f] += square;
        }
        for (int j = 0; j < i; j++) {
            int pair = (i * i + 2 * j) * bins;
            add_pair(t, a, t->tried + 2 * j * bins, phi + pair, noise + pair, power);
        }
    }
    for (int f = t->first; f < t->last; f++) power[f] /= trace[f] * length[f] + 1e-30f;
    return ee_sum(power + t->first, t->last - t->first) / (float)(t->last - t->first);
}

static int reach(const ee_track *t) { return t->steps + EE_LOOK_BEYOND; }

static int turns(const ee_track *t, int at) { return at <= reach(t) ? at : reach(t) - at; }

static float leaning(const ee_track *t, int at) { return t->scores[at] - LEAN * (float)(turns(t, at) * turns(t, at)); }

static int decide(ee_track *t)
{
    int best = 0;
    for (int i = 1; i <= 2 * reach(t); i++)
        if (leaning(t, i) > leaning(t, best)) best = i;
    int goal = turns(t, best), turned = t->turned;
    if (goal == reach(t) || goal == -reach(t)) return 0;
    if (goal > turned && turned < t->steps) turned++;
    if (goal < turned && turned > -t->steps) turned--;
    if (turned == t->turned) return 0;
    t->turned = turned;
    face(t);
    return 1;
}

int ee_track_hop(ee_track *t, const float *d, const float *phi, const float *noise)
{
    int moved = 0, count = 2 * reach(t) + 1;
    for (int i = 0; i < t->per_hop; i++) {
        if (t->at == 0 || t->at == reach(t) + 1) memcpy(t->tried, d, 2 * (size_t)(t->mics * t->bins) * sizeof(float));
        if (t->at > 0) turn_on(t, t->tried, t->at <= reach(t) ? 1.0f : -1.0f, t->first, t->last);
        t->scores[t->at] = score(t, phi, noise);
        t->at = (t->at + 1) % count;
        if (t->at == 0) moved |= decide(t);
    }
    return moved;
}
