/*
 * bands.c: band powers, gains from bands to bins, and the network's features.
 */
#include <string.h>

#include "internal.h"

#define FEATURE_FLOOR 8.673617379884035e-19f /* 2^-60: -180 dB */
#define FEATURE_SCALE 2048.0f                /* Q15 units per log2: 32768 / 16 */
#define RISE_SECONDS 0.5
#define FALL_SECONDS 4.0

EE_INLINE float log2_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23) - 127;
    bits = (bits & 0x007fffffu) | 0x3f800000u;
    float mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    int upper = mantissa > 1.41421356f;
    mantissa = upper ? 0.5f * mantissa : mantissa;
    exponent += upper;
    /* log2(m) = 2 / ln 2 * atanh(t), t = (m - 1) / (m + 1), |t| < 0.172 */
    float t = (mantissa - 1.0f) / (mantissa + 1.0f), t2 = t * t;
    float series = 1.0f + t2 * (0.33333333f + t2 * (0.2f + t2 * (0.14285714f + t2 * 0.11111111f)));
    return (float)exponent + 2.88539008f * t * series;
}

float ee_log2(float x) { return log2_of(x); }

void ee_bands_power(const int16_t *centers, int bands, const float *squares, float *power)
{
    float carry = 0.0f; /* what the falling side of the triangle before left for this band */
    int before = 1;     /* width of that side, in bins */
    for (int b = 0; b < bands; b++) {
        int first = centers[b], after = b + 1 < bands ? centers[b + 1] - first : 1;
        const float *square = squares + first;
        float sum = 0.0f, moment = 0.0f; /* the sum over k square[k], by partial sums from the far end */
        for (int k = after - 1; k > 0; k--) {
            sum += square[k];
            moment += sum;
        }
        float next = moment / (float)after;
        power[b] = (carry + sum + square[0] - next) * 2.0f / (float)(before + after);
        carry = next;
        before = after;
    }
}

void ee_bands_expand(const int16_t *centers, int bands, const float *gains, int bins, float *bin_gains)
{
    for (int b = 0; b + 1 < bands; b++) {
        int first = centers[b], width = centers[b + 1] - first;
        float slope = (gains[b + 1] - gains[b]) / (float)width;
        for (int k = 0; k < width; k++) bin_gains[first + k] = gains[b] + slope * (float)k;
    }
    bin_gains[bins - 1] = gains[bands - 1];
}

int ee_features_init(ee_features *features, float hop_seconds)
{
    if (!features) return EE_ERR_NULL;
    if (!(hop_seconds > 0.0f && hop_seconds < 1.0f)) return EE_ERR_CONFIG;
    features->level = 0.0f;
    features->rise = (float)ee_one_minus_exp(hop_seconds / RISE_SECONDS);
    features->fall = (float)ee_one_minus_exp(hop_seconds / FALL_SECONDS);
    features->started = 0;
    return EE_OK;
}

EE_INLINE int16_t to_q15(float x)
{
    x = x < -32768.0f ? -32768.0f : x > 32767.0f ? 32767.0f : x;
    return (int16_t)(x < 0.0f ? x - 0.5f : x + 0.5f);
}

EE_VECTOR static void take_logs(const float *restrict power, int bands, float *restrict logs)
{
    for (int b = 0; b < bands; b++) logs[b] = log2_of(power[b] + FEATURE_FLOOR);
}

EE_VECTOR static void scale_logs(const float *restrict logs, int bands, float level, int16_t *restrict q15)
{
    for (int b = 0; b < bands; b++) q15[b] = to_q15(FEATURE_SCALE * (logs[b] - level));
}

void ee_features_update(ee_features *features, const float *const *powers, int bands, int16_t *q15)
{
    float logs[EE_MAX_BANDS];
    take_logs(powers[0], bands, logs);
    float mean = ee_sum(logs, bands) / (float)bands;
    if (!features->started) features->level = mean;
    features->started = 1;
    features->level += (mean > features->level ? features->rise : features->fall) * (mean - features->level);
    scale_logs(logs, bands, features->level, q15);
    for (int s = 1; s < EE_SIGNALS; s++) {
        int16_t *out = q15 + s * bands;
        if (powers[s]) {
            take_logs(powers[s], bands, logs);
            scale_logs(logs, bands, features->level, out);
        } else
            for (int b = 0; b < bands; b++) out[b] = -32768;
    }
}
