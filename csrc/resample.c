/*
 * resample.c: streaming polyphase resampler between rates of a rational ratio, linear phase.
 *
 * Time is counted in ticks of 1 / lcm(rate_in, rate_out) s: an input sample lasts `up` ticks, an output sample `down`.
 * The filter is a sinc under a Kaiser window (J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh
 * window function", ISCAS 1974), one value per tick. An output sample is the dot product of the last inputs with every
 * `up`-th value, the first being where it falls between two inputs (its phase).
 */
#include <string.h>

#include "internal.h"

#define HALF_LENGTH 16  /* of the filter, in samples of the lower rate: the delay */
#define KAISER 5.65     /* with the cutoff at 31/32 of half the lower rate: 60 dB from 1.0875 of it on */

struct ee_resample {
    int up, down, late, channels, taps;
    int rate_in;
    int at;          /* where the newest sample is in the histories */
    int due;         /* ticks from the next input sample to the next output sample */
    float *table;    /* [up][taps] filter values, the newest sample's last */
    float *history;  /* [channels][2 * taps] a ring written twice, so that the last `taps` samples lie in a row */
};

static int common_divisor(int a, int b)
{
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Ticks of a sample of the lower rate. */
static int slow_ticks(const ee_resample *r) { return r->up > r->down ? r->up : r->down; }

static int plan(ee_resample *r, int rate_in, int rate_out, int channels, int late)
{
    if (rate_in < 1 || rate_out < 1 || rate_in == rate_out || channels < 1 || channels > EE_MAX_MICS) return 0;
    int divisor = common_divisor(rate_in, rate_out);
    r->up = rate_out / divisor;
    r->down = rate_in / divisor;
    if (r->up > EE_MAX_RATIO || r->down > EE_MAX_RATIO || late < 0 || late >= r->down) return 0;
    r->late = late;
    r->channels = channels;
    r->rate_in = rate_in;
    r->taps = (2 * HALF_LENGTH * slow_ticks(r) + late + r->up - 1) / r->up;
    r->taps = (r->taps + 3) & ~3; /* for dot() */
    return 1;
}

static void carve(ee_resample *r, ee_arena *arena)
{
    r->table = ee_arena_floats(arena, (size_t)r->up * (size_t)r->taps);
    r->history = ee_arena_floats(arena, (size_t)r->channels * 2 * (size_t)r->taps);
}

size_t ee_resample_size(int rate_in, int rate_out, int channels, int late)
{
    ee_resample r;
    ee_arena arena = {NULL, 0};
    if (!plan(&r, rate_in, rate_out, channels, late)) return 0;
    ee_arena_take(&arena, sizeof r);
    carve(&r, &arena);
    return arena.used;
}

/* The modified Bessel function I0(2 sqrt(q)), 0 <= q <= 8, by its series. */
static double bessel(double q)
{
    double term = 1.0, sum = 1.0;
    for (int i = 1; i < 25; i++) {
        term *= q / (i * i);
        sum += term;
    }
    return sum;
}

/* The filter `tick` ticks from its middle; `slow`: ticks of a sample of the lower rate; unit gain per tick. */
static double filter_value(int tick, int slow)
{
    const double pi = 3.14159265358979323846, most = KAISER * KAISER / 4.0;
    int away = tick < 0 ? -tick : tick, end = HALF_LENGTH * slow;
    if (away >= end) return 0.0;
    double sine, cosine, part = (double)away / end;
    ee_sincos(31 * away % (64 * slow), 64 * slow, &sine, &cosine);
    return (away ? sine / (pi * away) : 31.0 / (32.0 * slow)) * bessel(most * (1.0 - part * part)) / bessel(most);
}

int ee_resample_init(ee_resample **out, void *memory, size_t bytes, int rate_in, int rate_out, int channels, int late)
{
    int code = ee_check_memory(out, memory, bytes, ee_resample_size(rate_in, rate_out, channels, late));
    if (code) return code;
    ee_arena arena = {memory, 0};
    ee_resample *r = ee_arena_take(&arena, sizeof *r);
    plan(r, rate_in, rate_out, channels, late);
    carve(r, &arena);
    int slow = slow_ticks(r), middle = HALF_LENGTH * slow + late;
    for (int phase = 0; phase < r->up; phase++)
        for (int k = 0; k < r->taps; k++) {
            double value = r->up * filter_value(phase + k * r->up - middle, slow);
            r->table[phase * r->taps + r->taps - 1 - k] = (float)value;
        }
    ee_resample_reset(r);
    *out = r;
    return EE_OK;
}

void ee_resample_reset(ee_resample *r)
{
    memset(r->history, 0, (size_t)r->channels * 2 * (size_t)r->taps * sizeof(float));
    r->at = r->due = 0;
}

double ee_resample_latency(const ee_resample *r)
{
    return 1000.0 * (HALF_LENGTH * slow_ticks(r) + r->late) / ((double)r->rate_in * r->up);
}

size_t ee_resample_frames(const ee_resample *r, size_t frames)
{
    uint64_t ticks = (uint64_t)frames * (uint64_t)r->up, due = (uint64_t)r->due, down = (uint64_t)r->down;
    return ticks > due ? (size_t)((ticks - due + down - 1) / down) : 0;
}

/* Four sums side by side, in this order everywhere: one vector register. */
static float dot(const float *restrict a, const float *restrict b, int n)
{
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = 0; k < n; k += 4)
        for (int i = 0; i < 4; i++) sums[i] += a[k + i] * b[k + i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static void push(ee_resample *r, const float *frame)
{
    r->at = (r->at + 1) % r->taps;
    for (int c = 0; c < r->channels; c++) {
        float *history = r->history + (size_t)c * 2 * (size_t)r->taps;
        int fine = frame[c] >= -EE_ABSURD && frame[c] <= EE_ABSURD; /* NaN is not */
        history[r->at] = history[r->at + r->taps] = fine ? frame[c] : 0.0f;
    }
}

int ee_resample_process(ee_resample *r, const float *in, float *out, size_t frames)
{
    if (!r || (frames && (!in || !out))) return EE_ERR_NULL;
    for (size_t i = 0; i < frames; i++) {
        push(r, in + i * (size_t)r->channels);
        for (; r->due < r->up; r->due += r->down) {
            const float *row = r->table + (size_t)r->due * (size_t)r->taps;
            for (int c = 0; c < r->channels; c++)
                *out++ = dot(row, r->history + (size_t)c * 2 * (size_t)r->taps + r->at + 1, r->taps);
        }
        r->due -= r->up;
    }
    return EE_OK;
}
