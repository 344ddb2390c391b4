/*
 * level.c: never loud. Automatic level control that follows speech slowly, a soft start, a limiter without delay.
 */
#include <math.h>

#include "live.h"

#define SPEECH_SECONDS 3.0f    /* mean over speech */
#define FLOOR_RISE 1.0f        /* of the background's power per second, as exp: 4.3 dB */
#define SPEECH_OVER_FLOOR 8.0f /* 9 dB above the background is speech, */
#define QUIETEST 1e-7f         /* above -70 dBFS */
#define MOST_GAIN 8.0f         /* 18 dB up, */
#define LEAST_GAIN 0.125f      /* or down */
#define SLEW 0.35f             /* of the gain per second, as exp: 3 dB */
#define RELEASE_SECONDS 0.1f

void ee_level_init(ee_level *v, float sample_rate)
{
    v->seconds = 1.0f / sample_rate;
    v->start = v->start_seconds > 0.0f ? 0.0f : 1.0f;
    v->start_step = v->start_seconds > 0.0f ? v->seconds / v->start_seconds : 0.0f;
    v->speech = v->target;
    v->floor = 1.0f;
    v->gain = v->want = v->limit = 1.0f;
    v->slew = SLEW * v->seconds;
    v->release = v->seconds / RELEASE_SECONDS;
}

static float smallest(float a, float b) { return a < b ? a : b; }

/* Where the gain should go: the level of speech, not of pauses, to the target. */
static void follow(ee_level *v, const float *y, int channels, int frames)
{
    float power = 0.0f, seconds = (float)frames * v->seconds;
    for (int i = 0; i < frames * channels; i++) power += y[i] * y[i];
    power /= (float)(frames * channels);
    v->floor *= 1.0f + FLOOR_RISE * seconds;
    v->floor = smallest(v->floor, power > QUIETEST ? power : QUIETEST);
    if (power < QUIETEST || power < SPEECH_OVER_FLOOR * v->floor) return;
    v->speech += smallest(1.0f, seconds / SPEECH_SECONDS) * (power - v->speech);
    float want = sqrtf(v->target / v->speech);
    v->want = want > MOST_GAIN ? MOST_GAIN : want < LEAST_GAIN ? LEAST_GAIN : want;
}

static float next_gain(ee_level *v)
{
    float most = v->gain * (1.0f + v->slew), least = v->gain * (1.0f - v->slew);
    v->gain = v->want > most ? most : v->want < least ? least : v->want;
    v->start = smallest(1.0f, v->start + v->start_step);
    return v->gain * v->start * v->start;
}

/* The limiter's gain: down at once, up within RELEASE_SECONDS. */
static float next_limit(ee_level *v, float peak)
{
    v->limit += v->release * (1.0f - v->limit);
    if (v->limit > 0.9999f) v->limit = 1.0f;
    if (peak * v->limit > v->ceiling) v->limit = v->ceiling / peak;
    return v->limit;
}

void ee_level_process(ee_level *v, float *y, int channels, int frames)
{
    if (v->target > 0.0f) follow(v, y, channels, frames);
    for (int i = 0; i < frames; i++, y += channels) {
        float gain = next_gain(v), peak = 0.0f;
        for (int c = 0; c < channels; c++) {
            y[c] *= gain;
            if (fabsf(y[c]) > peak) peak = fabsf(y[c]);
        }
        gain = next_limit(v, peak);
        for (int c = 0; c < channels; c++) {
            float x = y[c] * gain;
            y[c] = x > v->ceiling ? v->ceiling : x < -v->ceiling ? -v->ceiling : x; /* rounding */
        }
    }
}
