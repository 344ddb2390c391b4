/*
 * edgeenhance.h: the EdgeEnhance kernel. Microphone array in, clean speech out, one hop at a time.
 *
 * What it is: everything that runs per hop, in C99, float32, without libm (but sqrtf and fabsf),
 * malloc, locks, files or printing. What it is not: a design tool. Steering vectors and fixed beams are
 * designed in Python (edgeenhance.beamform) and handed over as tables.
 *
 * Conventions
 *   samples     float, full scale +-1; several channels are interleaved [frame][channel]
 *   spectrum    planar: `bins` real parts, then `bins` imaginary parts; bins = analysis / 2 + 1
 *   array data  planar per microphone: [microphone][re, im][bin]
 *   beams       y = w^H x; steering vectors d are relative to a reference microphone (d_ref = 1), w^H d = 1
 *   Hermitian   matrices are packed, one plane of `bins` floats per number: row i begins at plane i*i and holds
 *               (i,0) re, im, (i,1) re, im, ..., (i,i) re: mics*mics planes in all
 *   memory      states live in memory of the caller, 16-byte aligned: ask ee_<noun>_size, then ee_<noun>_init
 *   errors      0 or a negative code, see ee_strerror; a size of 0 means that the configuration is bad
 *
 * This file is also the cdef of the Python binding: declarations and integer #defines only.
 */
#ifndef EDGEENHANCE_H
#define EDGEENHANCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EE_VERSION_MAJOR 0
#define EE_VERSION_MINOR 1

#define EE_MAX_MICS 16
#define EE_MAX_BANDS 256
#define EE_SIGNALS 4
#define EE_MAX_LOOK_STEPS 16
#define EE_MIN_FFT 32
#define EE_MAX_FFT 2048
#define EE_MAX_RATIO 1024

#define EE_OK 0
#define EE_ERR_NULL -1     /* a required pointer is NULL */
#define EE_ERR_CONFIG -2   /* a configuration value is outside its range */
#define EE_ERR_MEMORY -3   /* memory too small or not 16-byte aligned */
#define EE_ERR_FRAMES -4   /* aligned mode: frames is not a multiple of the hop */
#define EE_ERR_MASK -5     /* the mask function failed; that hop ran on the beam alone */

const char *ee_strerror(int code);

/* ---- real FFT, n a power of two, EE_MIN_FFT..EE_MAX_FFT (fft.c) ---- */

typedef struct ee_fft ee_fft;
size_t ee_fft_size(int n);
int ee_fft_init(ee_fft **out, void *memory, size_t bytes, int n);
void ee_fft_forward(ee_fft *fft, const float *x, float *X);  /* x[n] -> X planar, n/2+1 bins */
void ee_fft_inverse(ee_fft *fft, const float *X, float *x);  /* scaled by 1/n: inverse(forward(x)) = x */

/* ---- streaming STFT and overlap-add, one channel per history / overlap buffer (stft.c) ----
 * Asymmetric window pair (Mauler & Martin 2007): the product of the analysis window and the synthesis window is
 * a Hann window over the last `synthesis` samples. hop = synthesis / 2. */

typedef struct ee_stft ee_stft;
size_t ee_stft_size(int analysis, int synthesis);
int ee_stft_init(ee_stft **out, void *memory, size_t bytes, int analysis, int synthesis);
const float *ee_stft_window(const ee_stft *stft, int synthesis);  /* 0: analysis window; 1: synthesis window */
/* Shift one hop (stride between samples) into history[analysis]; X: the spectrum of the windowed history. */
void ee_stft_analyze(ee_stft *stft, float *history, const float *hop, int stride, float *X);
/* Overlap-add the spectrum: one finished hop; what the next one takes from it stays in overlap[synthesis / 2]. */
void ee_stft_synthesize(ee_stft *stft, float *overlap, const float *X, float *hop, int stride);

/* ---- streaming resampler (resample.c): 48 kHz to 16, 16 to 44.1, ... ----
 * Linear phase, for rates whose ratio rate_out : rate_in reduces to two different whole numbers up to EE_MAX_RATIO. The
 * delay is 16 samples of the lower rate (1 ms at 16 kHz). With half the lower rate as 1: within 0.2 dB up to 0.875
 * (7 kHz), -60 dB or less from 1.0875 (8.7 kHz) on. So what lies below 0.9125 (7.3 kHz) receives no aliases and makes no
 * images above -60 dB. */

typedef struct ee_resample ee_resample;
/* late: a further delay in ticks of 1 / lcm(rate_in, rate_out) s, less than one output sample. It rounds the delay of a
 * chain up to whole samples; usually 0. */
size_t ee_resample_size(int rate_in, int rate_out, int channels, int late);
int ee_resample_init(ee_resample **out, void *memory, size_t bytes, int rate_in, int rate_out, int channels, int late);
void ee_resample_reset(ee_resample *resample);  /* as after init */
double ee_resample_latency(const ee_resample *resample);  /* ms from a sound in to the same sound out, exact */
/* How many frames the next block of `frames` gives. In all, n frames in have given ceil(n * rate_out / rate_in). */
size_t ee_resample_frames(const ee_resample *resample, size_t frames);
/* in [frames][channels], out [ee_resample_frames()][channels]; may not overlap. Blocks of any size give the same
 * samples. NaN, Inf and samples beyond +-1e6 count as 0. */
int ee_resample_process(ee_resample *resample, const float *in, float *out, size_t frames);

/* ---- bands (bands.c): triangles with centres at `centers` (bins, strictly increasing, first 0, last bins-1) ---- */

float ee_log2(float x);  /* x > 0, normal; within 4e-6 of log2(x); the same bits everywhere */
/* squares[bins]: squared magnitudes; power[bands]: their mean under each triangle */
void ee_bands_power(const int16_t *centers, int bands, const float *squares, float *power);
void ee_bands_expand(const int16_t *centers, int bands, const float *gains, int bins, float *bin_gains);

/* Features, Q15: (log2(power) - level) / 16 clipped to [-1, 1), of EE_SIGNALS signals one after the other: the beam, the
 * noise reference, the delay-and-sum beam, the mean over the microphones. How they differ tells a talker in the look
 * direction from one beside it, whatever the array. `level` follows the beam's mean log2 band power, up in 0.5 s and down in 4 s: features do not depend on input gain. */
typedef struct {
    float level;         /* log2 power */
    float rise, fall;    /* smoothing per hop, 0..1 */
    int started;         /* 0 until the first hop */
} ee_features;
int ee_features_init(ee_features *features, float hop_seconds);
/* powers[s]: band powers of signal s; NULL (one microphone), but for the beam: its features sit at the floor, -32768.
 * q15[EE_SIGNALS * bands]. */
void ee_features_update(ee_features *features, const float *const *powers, int bands, int16_t *q15);

/* ---- beamforming, all bins at once (beamform.c) ---- */

void ee_beam_apply(const float *w, const float *X, int mics, int bins, float *y);  /* y = w^H x per bin */
/* R += rate * (x x^H - R), rate[bins] in 0..1 */
void ee_covariance_update(float *R, const float *X, const float *rate, int mics, int bins);
/* MVDR by Cholesky: w = A^-1 d / (d^H A^-1 d), A = R * mics / tr(R) + prior_weight * prior, for bins first..first+count-1.
 * skip: bit m set leaves microphone m out (its weight is 0). Never NaN: a singular A is loaded until it is not, and where
 * |w|^2 would exceed 1e6 all the same, w is d / d^H d. */
void ee_mvdr_weights(const float *R, const float *prior, float prior_weight, const float *d, unsigned skip,
                     int mics, int bins, int first, int count, float *w);

/* ---- mask networks (net.c) ----
 * A program is a compiled model file (edgeenhance compile): a little-endian block of bytes, 4-byte aligned, read where it
 * lies. Damaged or hostile programs are refused, or do nothing worse than give wrong gains. */

typedef struct ee_net ee_net;
typedef struct {
    int sample_rate, analysis, synthesis, bands, signals;  /* Hz, samples; reads the first `signals` of the features */
    const int16_t *centers;                                /* [bands], in the program: for ee_config */
    const char *simd;  /* what it runs on here: "avx2" if the processor has it, else what the compiler could use */
} ee_net_facts;
size_t ee_net_size(const void *program, size_t bytes);  /* 0: not a program that this version can run */
int ee_net_init(ee_net **out, void *memory, size_t size, const void *program, size_t bytes);
void ee_net_describe(const ee_net *net, ee_net_facts *facts);
void ee_net_reset(ee_net *net);  /* all states to zero */
/* An ee_mask_fn with the ee_net as `user`: q15 features [EE_SIGNALS * bands] -> q15 gains [bands]. One hop. */
int ee_net_step(void *net, const int16_t *features, int16_t *gains);

/* ---- the enhancer: the whole chain (enhancer.c) ---- */

#define EE_BEAM_FIXED 0  /* beam->weights as they are */
#define EE_BEAM_MVDR 1   /* adaptive: noise covariance driven by the mask of the hop before */

/* Tables for one look direction; see "array data" above. They are read where they lie, for one in flash, so they must stay
 * there unchanged as long as the enhancer looks in that direction. */
typedef struct {
    const float *weights;   /* [mics][2][bins] fixed beam with w^H d = 1 at ear 0's reference; also where MVDR starts */
    const float *noise;     /* [mics][2][bins] noise reference, null on the talker; NULL with one microphone */
    const float *sum;       /* [mics][2][bins] delay-and-sum, w = d / d^H d; NULL where `noise` is */
    const float *steering;  /* [mics][2][bins] d relative to ear 0's reference microphone; NULL unless EE_BEAM_MVDR */
    const float *ear;       /* [2][bins] d at ear 1's reference over d at ear 0's; NULL with one ear */
    const float *turn;      /* [mics][2][bins] phases by which d changes one look step to the left; NULL without tracking */
    const float *prior;     /* [mics*mics][bins] packed: diffuse-field coherence plus loading; NULL unless EE_BEAM_MVDR */
} ee_beam;

/* The mask: q15 features [EE_SIGNALS * bands] -> q15 gains [bands], 0..32767. Called once per hop, but in digital silence and bursts.
 * Returns 0, or anything else for "failed". */
typedef int (*ee_mask_fn)(void *user, const int16_t *features, int16_t *gains);

typedef struct {
    int sample_rate;           /* Hz */
    int analysis, synthesis;   /* samples, powers of two; hop = synthesis / 2 */
    int aligned;               /* 1: blocks are multiples of the hop, least delay; 0: blocks of any size */
    int mics;                  /* input channels, 1..EE_MAX_MICS */
    int ears;                  /* output channels, 1 or 2 */
    int reference[2];          /* reference microphone of each ear */
    int bands;                 /* 2..EE_MAX_BANDS */
    const int16_t *centers;    /* band centres [bands]; must outlive the enhancer */
    int beamformer;            /* EE_BEAM_* */
    float prior_weight;        /* MVDR: weight of the prior beside the measured covariance, > 0 */
    float noise_seconds;       /* MVDR: time constant of the noise covariance */
    int solve_hops;            /* MVDR: weights of all bins are renewed within so many hops, evenly spread, >= 1 */
    float steering_blend;      /* MVDR: steering 0 (as designed) .. 1 (the talker's transfer functions as heard) */
    int look_steps;            /* MVDR with a mask: follow the talker so many steps (ee_beam.turn) to either side, 0: not */
    float strength;            /* 0 (delayed reference microphone) .. 1 (full enhancement) */
    float cues;                /* 0 (beam) .. 1 (gains on the unprocessed ear: noise keeps its place) */
    int bypass;                /* 1: the delayed reference microphones come out, sample for sample */
    float ceiling;             /* no output sample is larger, > 0, full scale is 1; 0: no limiter */
    ee_mask_fn mask;           /* NULL: the beam alone */
    void *mask_user;
} ee_config;

typedef struct ee_enhancer ee_enhancer;
size_t ee_enhancer_size(const ee_config *config);
int ee_enhancer_init(ee_enhancer **out, void *memory, size_t bytes, const ee_config *config, const ee_beam *beam);
int ee_enhancer_reset(ee_enhancer *enhancer);  /* as after init; look, strength, cues and bypass stay */
/* in [frames][mics], out [frames][ears]; may not overlap. Every sample in gives a sample out, `latency` samples later. */
int ee_enhancer_process(ee_enhancer *enhancer, const float *in, float *out, size_t frames);
int ee_enhancer_latency(const ee_enhancer *enhancer);  /* samples: synthesis, or synthesis - hop when aligned */

/* Settings, from any one thread (or interrupt), while another one processes: nobody waits. They count from the next hop
 * on, the last one if there were several, and are carried out over some hops, without a click. */
int ee_enhancer_set_strength(ee_enhancer *enhancer, float strength);
int ee_enhancer_set_cues(ee_enhancer *enhancer, float cues);
/* Bypass fades over to the delayed reference microphones, as they came in, while the chain goes on to adapt. */
int ee_enhancer_set_bypass(ee_enhancer *enhancer, int bypass);
/* Beams set before (*beam and its tables) may be in use until `pending` is 0; then only the last one is. */
int ee_enhancer_set_beam(ee_enhancer *enhancer, const ee_beam *beam);
int ee_enhancer_pending(const ee_enhancer *enhancer);  /* 1 from set_beam until the next hop */

/* What the enhancer has seen, for warnings and meters. */
typedef struct {
    uint64_t hops;          /* processed */
    uint64_t bad_frames;    /* frames with NaN, Inf or absurd samples, muted */
    uint64_t mask_failures; /* hops that ran on the beam alone because the mask function failed */
    uint64_t limited_hops;  /* hops in which the limiter was at work */
    unsigned dead_mics;     /* bit m: microphone m is silent while others are not */
    float gain;             /* mean gain of the last hop, 0..1 */
    float strength;         /* of the last hop: 0 in quiet, whatever was set */
    float limiter_gain;     /* least of the last hop, 0..1 */
    int look_steps;         /* where the talker is followed to, steps to the left of the look direction */
} ee_status;
int ee_enhancer_status(const ee_enhancer *enhancer, ee_status *status);  /* as of the last hop; from any thread */
/* What the last hop did, to look at: ear 0's beam before the gains (a spectrum), its weights [mics][2][bins], the gains
 * [bins]. The hop's output is strength * gain * w^H x + (1 - strength) * reference microphone, without cues, bypass
 * and limiter. From the thread that processes. */
const float *ee_enhancer_beam(const ee_enhancer *enhancer);
const float *ee_enhancer_weights(const ee_enhancer *enhancer);
const float *ee_enhancer_gains(const ee_enhancer *enhancer);

#ifdef __cplusplus
}
#endif
#endif
