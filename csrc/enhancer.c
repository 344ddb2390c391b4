/*
 * enhancer.c: the whole chain, hop by hop.
 *
 *   microphones -> analysis -> beams (talker, noise reference) -> features -> mask -> gains -> synthesis -> ear
 *                     ^                                                         |
 *                     +---- noise covariance of the next hop (MVDR) <-----------+
 *
 * Digital silence (a hop of zeros, to which bad samples are muted) changes no statistics: features, mask network and
 * covariance stand still and the gains are held. So NaNs leave the same trace as zeros: none.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

#define RAMP_HOPS 16          /* strength, cues and bypass run through their whole range in this many hops */
#define BEAM_SECONDS 0.018    /* new weights fade in with this time constant */
#define SETTLE_HOPS 128       /* after which fixed weights have arrived */
#define METER_SECONDS 0.05    /* microphone level meters, presence estimate without a network */
#define DEAD_RATIO 1e-4f      /* a microphone 40 dB below the loudest is dead, */
#define ALIVE_RATIO 1e-3f     /* and alive again at 30 dB */
#define HEADROOM 2.0f         /* output never above twice (6 dB) the recent input peak */
#define SPEECH_SECONDS 1.0    /* time constant of the talker's covariance */
#define SPEECH_START 0.1f     /* share of the noise's power with which it starts */
#define SMALLEST 1e-37f       /* a reciprocal is still finite */
#define FAINTEST 1e-3f        /* no blending where the reference has less than this share of what the talker sends */
#define LOUDEST 8.0f          /* times its level, as which a hop counts at most in the noise covariance */
#define BURST 100.0f          /* a hop 20 dB above the mean power of the last seconds is a burst, */
#define BURST_SECONDS 0.25    /* for so long at most: then it is the new sound */
#define LOUDNESS_SECONDS 2.0
#define QUIET_LOW 1e4f        /* speech 40 dB above the noise floor: enhancement begins to fade out, */
#define QUIET_OCTAVES 2.6575f /* and is gone 8 dB later: there is nothing to remove, and a beam takes early reflections */
#define ALONE_OCTAVES 0.5f    /* and only where delay-and-sum takes away less than 1.5 dB of what the microphones hear: */
#define ALONE_RANGE 0.133f    /* at 1.1 dB nobody else talks. (Two talkers without noise pause together now and then.) */
#define FLOOR_SECONDS 1.0     /* the floor is the least of the last four such stretches */
#define FLOORS 4
#define SPEECH_FALL_SECONDS 4.0
#define SHORT_SECONDS 0.012
#define ONE_Q15 32767
#define STATUS_WORDS (sizeof(ee_status) / sizeof(uint32_t))

/* A status that is copied word by word, while another thread may read it. */
typedef union {
    ee_status status;
    uint32_t words[STATUS_WORDS];
} snapshot;

struct ee_enhancer {
    ee_config config;
    int hop, bins;
    ee_stft *stft;
    /* look */
    const float *fixed, *noise, *sum, *steering, *ear, *prior; /* the tables given; NULL where not needed */
    float *weights, *weights_used;                 /* [mics][2][bins] goal, and what is applied on the way there */
    float *noise_used, *sum_used, *ear_used;
    float *covariance;
    float *speech, *transfer, *blended;            /* talker: covariance, transfer functions [mics][2][bins] */
    ee_track track;
    int settling, covariance_started, solve_at;
    float forget, forget_speech, fade;
    /* signal */
    float *input, *output;                         /* one hop, interleaved */
    float *history, *overlap;
    float *X, *Y, *U, *S, *mixed;                  /* microphones, beam, noise reference, delay-and-sum */
    float *squares;                                /* [EE_SIGNALS][bins] of Y, U, S and the mean over the microphones */
    int fill;
    float *peaks;                                  /* of the last hops, a ring */
    int peak_count, peak_at;
    /* mask */
    ee_features features;
    float *power[EE_SIGNALS];                      /* [bands] */
    float *presence;                               /* [bands] without a network, */
    float *presence_beam, *presence_noise;         /* from smoothed powers */
    float *gains, *bin_gains, *rate;
    int16_t *q15;                                  /* [EE_SIGNALS + 1][bands]: features, gains */
    /* knobs on their way */
    float strength, cues, bypass;
    ee_limiter limiter;
    /* shared with the thread that sets and looks, through EE_ATOMIC_* alone */
    const ee_beam *next;                           /* NULL: no change */
    float next_strength, next_cues;
    int next_bypass;
    snapshot published[2];
    uint32_t edition;                              /* published[edition % 2] is valid, the other in the making */
    /* meters */
    float *mic_power;
    float meter;
    /* bursts */
    float loudness, loudness_rate;                 /* mean power of a hop's sample */
    int heard;                                     /* hops that taught it, up to burst_most */
    int burst_hops, burst_most, guard;             /* in a row; at most; hops until the burst has left the window */
    /* quiet */
    float loud, short_power, fall, quick;          /* level of speech, power over SHORT_SECONDS, their rates per hop */
    float floors[FLOORS];                          /* least power of each stretch, the present one first */
    int floor_hops, floor_most;
    float sum_energy, mic_energy;                  /* delay-and-sum, microphones, over LOUDNESS_SECONDS */
    float need;                                    /* 1: enhance, 0: nothing to remove */
    ee_status status;
};

const char *ee_strerror(int code)
{
    switch (code) {
    case EE_OK: return "no error";
    case EE_ERR_NULL: return "a required pointer is NULL";
    case EE_ERR_CONFIG: return "a configuration value is outside its range";
    case EE_ERR_MEMORY: return "the memory is too small or not 16-byte aligned; ask the matching _size function";
    case EE_ERR_FRAMES: return "aligned mode takes blocks that are multiples of the hop";
    case EE_ERR_MASK: return "the mask function failed; those hops ran on the beam alone";
    default: return "unknown error code";
    }
}

/* ---- configuration and memory ---- */

static int in_unit(float x) { return x >= 0.0f && x <= 1.0f; }

static int is_reference(const ee_config *c, int ear) { return c->reference[ear] >= 0 && c->reference[ear] < c->mics; }

static int bands_fit(const ee_config *c)
{
    if (c->bands < 2 || c->bands > EE_MAX_BANDS || !c->centers) return 0;
    for (int b = 1; b < c->bands; b++)
        if (c->centers[b] <= c->centers[b - 1]) return 0;
    return c->centers[0] == 0 && c->centers[c->bands - 1] == c->analysis / 2;
}

static int mvdr_fits(const ee_config *c)
{
    return c->beamformer == EE_BEAM_FIXED
        || (c->beamformer == EE_BEAM_MVDR && c->mics > 1 && c->prior_weight > 0.0f && c->prior_weight < 1e6f
            && c->noise_seconds > 0.0f && c->noise_seconds < 1e3f && c->solve_hops >= 1 && in_unit(c->steering_blend)
            && c->look_steps >= 0 && c->look_steps <= EE_MAX_LOOK_STEPS);
}

static int config_fits(const ee_config *c)
{
    return c && c->sample_rate > 0 && ee_stft_size(c->analysis, c->synthesis) && c->mics >= 1 && c->mics <= EE_MAX_MICS
        && (c->ears == 1 || (c->ears == 2 && is_reference(c, 1))) && is_reference(c, 0) && bands_fit(c) && mvdr_fits(c)
        && in_unit(c->strength) && in_unit(c->cues) && c->ceiling >= 0.0f && c->ceiling <= EE_ABSURD;
}

static int follows(const ee_enhancer *e) { return e->track.steps > 0; }

static void carve_look(ee_enhancer *e, ee_arena *a, size_t array, size_t spectrum)
{
    const ee_config *c = &e->config;
    e->weights = ee_arena_floats(a, array);
    e->weights_used = ee_arena_floats(a, array);
    e->noise_used = c->mics > 1 ? ee_arena_floats(a, array) : NULL;
    e->sum_used = c->mics > 1 ? ee_arena_floats(a, array) : NULL;
    e->ear_used = c->ears > 1 ? ee_arena_floats(a, spectrum) : NULL;
    size_t matrix = (size_t)(c->mics * c->mics) * spectrum / 2;
    e->covariance = c->beamformer == EE_BEAM_MVDR ? ee_arena_floats(a, matrix) : NULL;
    e->speech = c->beamformer == EE_BEAM_MVDR ? ee_arena_floats(a, matrix) : NULL;
    e->transfer = c->beamformer == EE_BEAM_MVDR ? ee_arena_floats(a, array) : NULL;
    e->blended = c->beamformer == EE_BEAM_MVDR ? ee_arena_floats(a, array) : NULL;
    e->track.steps = c->beamformer == EE_BEAM_MVDR && c->mask ? c->look_steps : 0; /* beams alone cannot tell */
    if (follows(e)) ee_track_carve(&e->track, a, c->mics, e->bins);
}

static void carve_signal(ee_enhancer *e, ee_arena *a, size_t array, size_t spectrum)
{
    const ee_config *c = &e->config;
    e->input = ee_arena_floats(a, (size_t)(e->hop * c->mics));
    e->output = ee_arena_floats(a, (size_t)(e->hop * c->ears));
    e->history = ee_arena_floats(a, (size_t)(c->analysis * c->mics));
    e->overlap = ee_arena_floats(a, (size_t)(e->hop * c->ears));
    e->X = ee_arena_floats(a, array);
    e->Y = ee_arena_floats(a, spectrum * (size_t)c->ears);
    e->U = ee_arena_floats(a, spectrum);
    e->S = ee_arena_floats(a, spectrum);
    e->mixed = ee_arena_floats(a, spectrum);
    e->squares = ee_arena_floats(a, EE_SIGNALS * spectrum / 2);
    e->peak_count = c->analysis / e->hop + 4;
    e->peaks = ee_arena_floats(a, (size_t)e->peak_count);
    e->mic_power = ee_arena_floats(a, (size_t)c->mics);
}

static void carve_mask(ee_enhancer *e, ee_arena *a)
{
    size_t bands = (size_t)e->config.bands, bins = (size_t)e->bins;
    float **per_band[] = {&e->power[0], &e->power[1], &e->power[2], &e->power[3], &e->presence, &e->presence_beam,
                          &e->presence_noise, &e->gains};
    for (size_t i = 0; i < sizeof per_band / sizeof per_band[0]; i++) *per_band[i] = ee_arena_floats(a, bands);
    e->bin_gains = ee_arena_floats(a, bins);
    e->rate = ee_arena_floats(a, bins);
    e->q15 = ee_arena_take(a, (EE_SIGNALS + 1) * bands * sizeof(int16_t));
}

/* Sets every pointer of e; with arena.base NULL it only counts. */
static size_t carve(ee_enhancer *e, const ee_config *config, ee_arena *arena)
{
    e->config = *config;
    e->hop = config->synthesis / 2;
    e->bins = config->analysis / 2 + 1;
    size_t spectrum = 2 * (size_t)e->bins, array = spectrum * (size_t)config->mics;
    e->stft = ee_arena_take(arena, ee_stft_size(config->analysis, config->synthesis));
    carve_look(e, arena, array, spectrum);
    carve_signal(e, arena, array, spectrum);
    carve_mask(e, arena);
    return arena->used;
}

size_t ee_enhancer_size(const ee_config *config)
{
    if (!config_fits(config)) return 0;
    ee_enhancer counting;
    ee_arena arena = {NULL, 0};
    ee_arena_take(&arena, sizeof(ee_enhancer));
    return carve(&counting, config, &arena);
}

/* ---- look direction ---- */

static int beam_fits(const ee_config *c, const ee_beam *beam)
{
    int adaptive = c->beamformer == EE_BEAM_MVDR;
    return beam && beam->weights && (c->ears == 1 || beam->ear) && (!adaptive || (beam->steering && beam->prior))
        && (!beam->noise || beam->sum) && (!adaptive || !c->look_steps || beam->turn);
}

static void copy_table(float *to, const float *from, size_t count)
{
    if (to && from) memcpy(to, from, count * sizeof(float));
}

static size_t array_size(const ee_enhancer *e) { return 2 * (size_t)(e->bins * e->config.mics); }

static int has_noise(const ee_enhancer *e) { return e->noise != NULL; }

/* Goal of the applied weights while nothing adapts: the fixed beam, or the reference microphone if one is dead. */
static void aim(ee_enhancer *e)
{
    size_t reference = (size_t)e->config.reference[0];
    unsigned dead = e->status.dead_mics;
    e->settling = SETTLE_HOPS;
    if (!dead) {
        copy_table(e->weights, e->fixed, array_size(e));
        return;
    }
    for (size_t m = 0; dead >> reference & 1u && m < (size_t)e->config.mics; m++)
        if (!(dead >> m & 1u)) reference = m;
    memset(e->weights, 0, array_size(e) * sizeof(float));
    for (int f = 0; f < e->bins; f++) e->weights[2 * reference * (size_t)e->bins + (size_t)f] = 1.0f;
}

static void take_tables(ee_enhancer *e, const ee_beam *beam)
{
    int adaptive = e->config.beamformer == EE_BEAM_MVDR, several = e->config.mics > 1;
    e->fixed = beam->weights;
    e->noise = several ? beam->noise : NULL;
    e->sum = e->noise ? beam->sum : NULL;
    e->steering = adaptive ? beam->steering : NULL;
    e->prior = adaptive ? beam->prior : NULL;
    e->ear = e->config.ears > 1 ? beam->ear : NULL;
    e->track.turn = beam->turn;
}

/* The talker's covariance starts as d d^H at a level below the noise. */
static void start_speech(ee_enhancer *e)
{
    int mics = e->config.mics, bins = e->bins;
    memset(e->rate, 0, (size_t)bins * sizeof(float));
    for (int m = 0; m < mics; m++)
        for (int f = 0; f < bins; f++) e->rate[f] += SPEECH_START * e->covariance[(m * m + 2 * m) * bins + f] / (float)mics;
    memset(e->speech, 0, (size_t)(mics * mics * bins) * sizeof(float));
    ee_covariance_update(e->speech, e->steering, e->rate, mics, bins);
}

static void take_beam(ee_enhancer *e, const ee_beam *beam)
{
    take_tables(e, beam);
    if (follows(e)) ee_track_reset(&e->track);
    e->status.look_steps = 0;
    if (e->config.beamformer == EE_BEAM_FIXED) aim(e);
    if (e->covariance_started) start_speech(e);
    e->settling = SETTLE_HOPS;
}

/* ---- between the threads: settings in, status out ---- */

int ee_enhancer_set_beam(ee_enhancer *e, const ee_beam *beam)
{
    const ee_beam *replaced;
    if (!e) return EE_ERR_NULL;
    if (!beam_fits(&e->config, beam)) return EE_ERR_CONFIG;
    EE_ATOMIC_EXCHANGE(&e->next, &beam, &replaced);
    return EE_OK;
}

int ee_enhancer_pending(const ee_enhancer *e)
{
    const ee_beam *beam = NULL;
    if (e) EE_ATOMIC_LOAD(&e->next, &beam);
    return beam != NULL;
}

int ee_enhancer_set_strength(ee_enhancer *e, float strength)
{
    if (!e) return EE_ERR_NULL;
    if (!in_unit(strength)) return EE_ERR_CONFIG;
    EE_ATOMIC_STORE(&e->next_strength, &strength);
    return EE_OK;
}

int ee_enhancer_set_cues(ee_enhancer *e, float cues)
{
    if (!e) return EE_ERR_NULL;
    if (!in_unit(cues)) return EE_ERR_CONFIG;
    EE_ATOMIC_STORE(&e->next_cues, &cues);
    return EE_OK;
}

int ee_enhancer_set_bypass(ee_enhancer *e, int bypass)
{
    if (!e) return EE_ERR_NULL;
    EE_ATOMIC_STORE(&e->next_bypass, &bypass);
    return EE_OK;
}

/* Once exchanged, the beam before is not read any more: its owner may have it back. */
static void take_settings(ee_enhancer *e)
{
    const ee_beam *none = NULL, *beam;
    EE_ATOMIC_LOAD(&e->next_strength, &e->config.strength);
    EE_ATOMIC_LOAD(&e->next_cues, &e->config.cues);
    EE_ATOMIC_LOAD(&e->next_bypass, &e->config.bypass);
    EE_ATOMIC_EXCHANGE(&e->next, &none, &beam);
    if (beam) take_beam(e, beam);
}

static void publish(ee_enhancer *e)
{
    uint32_t edition = e->edition + 1;
    snapshot now = {e->status};
    snapshot *slot = &e->published[edition % 2];
    for (size_t i = 0; i < STATUS_WORDS; i++) EE_ATOMIC_STORE(&slot->words[i], &now.words[i]);
    EE_ATOMIC_STORE(&e->edition, &edition);
}

/* An edition is overwritten two editions later. So an interrupt reads at once, and a thread reads again where a hop has
 * ended meanwhile. */
int ee_enhancer_status(const ee_enhancer *e, ee_status *status)
{
    snapshot read;
    uint32_t before, after;
    if (!e || !status) return EE_ERR_NULL;
    do {
        EE_ATOMIC_LOAD(&e->edition, &before);
        const snapshot *slot = &e->published[before % 2];
        for (size_t i = 0; i < STATUS_WORDS; i++) EE_ATOMIC_LOAD(&slot->words[i], &read.words[i]);
        EE_ATOMIC_LOAD(&e->edition, &after);
    } while (after != before);
    if (ee_enhancer_pending(e)) read.status.look_steps = 0; /* steps from the direction set */
    *status = read.status;
    return EE_OK;
}

/* ---- gains ---- */

/* Gains of bands to gains of bins. */
static void spread_gains(ee_enhancer *e)
{
    ee_bands_expand(e->config.centers, e->config.bands, e->gains, e->bins, e->bin_gains);
    e->status.gain = ee_sum(e->bin_gains, e->bins) / (float)e->bins;
}

static void open_gains(ee_enhancer *e)
{
    for (int b = 0; b < e->config.bands; b++) e->gains[b] = 1.0f;
    spread_gains(e);
}

/* ---- life ---- */

int ee_enhancer_reset(ee_enhancer *e)
{
    if (!e) return EE_ERR_NULL;
    const ee_config *c = &e->config;
    take_settings(e);
    open_gains(e);
    memset(&e->status, 0, sizeof e->status);
    e->status.limiter_gain = 1.0f;
    memset(e->input, 0, (size_t)(e->hop * c->mics) * sizeof(float));
    memset(e->output, 0, (size_t)(e->hop * c->ears) * sizeof(float));
    memset(e->history, 0, (size_t)(c->analysis * c->mics) * sizeof(float));
    memset(e->overlap, 0, (size_t)(e->hop * c->ears) * sizeof(float));
    memset(e->peaks, 0, (size_t)e->peak_count * sizeof(float));
    memset(e->mic_power, 0, (size_t)c->mics * sizeof(float));
    memset(e->presence_beam, 0, (size_t)c->bands * sizeof(float));
    memset(e->presence_noise, 0, (size_t)c->bands * sizeof(float));
    aim(e);
    copy_table(e->weights_used, e->weights, array_size(e));
    copy_table(e->noise_used, e->noise, array_size(e));
    copy_table(e->sum_used, e->sum, array_size(e));
    copy_table(e->ear_used, e->ear, 2 * (size_t)e->bins);
    if (follows(e)) ee_track_reset(&e->track);
    e->loudness = 0.0f;
    e->heard = e->burst_hops = e->guard = 0;
    e->loud = e->short_power = e->sum_energy = e->mic_energy = 0.0f;
    e->floor_hops = 0;
    e->need = 1.0f;
    e->settling = e->covariance_started = e->solve_at = e->fill = e->peak_at = 0;
    e->strength = c->strength;
    e->cues = c->cues;
    e->bypass = c->bypass ? 1.0f : 0.0f;
    ee_limiter_tune(&e->limiter, c->ceiling, (double)e->hop / c->sample_rate);
    publish(e);
    return ee_features_init(&e->features, (float)e->hop / (float)c->sample_rate);
}

int ee_enhancer_init(ee_enhancer **out, void *memory, size_t bytes, const ee_config *config, const ee_beam *beam)
{
    int code = ee_check_memory(out, memory, bytes, ee_enhancer_size(config));
    if (code) return code;
    if (!beam_fits(config, beam)) return EE_ERR_CONFIG;
    memset(memory, 0, ee_enhancer_size(config));
    ee_arena arena = {memory, 0};
    ee_enhancer *e = ee_arena_take(&arena, sizeof(ee_enhancer));
    carve(e, config, &arena);
    size_t stft = ee_stft_size(config->analysis, config->synthesis);
    code = ee_stft_init(&e->stft, e->stft, stft, config->analysis, config->synthesis);
    if (code) return code;
    double hop_seconds = (double)e->hop / config->sample_rate;
    e->forget = e->covariance ? (float)ee_one_minus_exp(hop_seconds / (double)config->noise_seconds) : 0.0f;
    e->fade = (float)ee_one_minus_exp(hop_seconds / BEAM_SECONDS);
    e->forget_speech = (float)ee_one_minus_exp(hop_seconds / SPEECH_SECONDS);
    e->meter = (float)ee_one_minus_exp(hop_seconds / METER_SECONDS);
    e->loudness_rate = (float)ee_one_minus_exp(hop_seconds / LOUDNESS_SECONDS);
    e->fall = (float)ee_one_minus_exp(hop_seconds / SPEECH_FALL_SECONDS);
    e->quick = (float)ee_one_minus_exp(hop_seconds / SHORT_SECONDS);
    e->floor_most = (int)(FLOOR_SECONDS / hop_seconds);
    e->burst_most = (int)(BURST_SECONDS / hop_seconds) + 1;
    if (follows(e)) ee_track_tune(&e->track, config->sample_rate, config->analysis, hop_seconds);
    take_tables(e, beam);
    e->next_strength = config->strength;
    e->next_cues = config->cues;
    e->next_bypass = config->bypass;
    code = ee_enhancer_reset(e);
    if (code == EE_OK) *out = e;
    return code;
}

int ee_enhancer_latency(const ee_enhancer *e) { return e->config.synthesis - (e->config.aligned ? e->hop : 0); }

const float *ee_enhancer_beam(const ee_enhancer *e) { return e ? e->Y : NULL; }

const float *ee_enhancer_weights(const ee_enhancer *e) { return e ? e->weights_used : NULL; }

const float *ee_enhancer_gains(const ee_enhancer *e) { return e ? e->bin_gains : NULL; }

/* ---- input: bad frames, meters ---- */

EE_VECTOR static int any_bad(const float *samples, int count)
{
    int bad = 0;
    for (int i = 0; i < count; i++) bad |= !(fabsf(samples[i]) <= EE_ABSURD);
    return bad;
}

/* count: a multiple of EE_LANES, as all hops are */
EE_VECTOR static float peak_of(const float *samples, int count)
{
    float peaks[EE_LANES] = {0}, peak = 0.0f;
    for (int i = 0; i < count; i += EE_LANES)
        for (int l = 0; l < EE_LANES; l++) peaks[l] = fabsf(samples[i + l]) > peaks[l] ? fabsf(samples[i + l]) : peaks[l];
    for (int l = 0; l < EE_LANES; l++) peak = peaks[l] > peak ? peaks[l] : peak;
    return peak;
}

static void mute_bad_frames(ee_enhancer *e)
{
    int mics = e->config.mics;
    for (int k = 0; k < e->hop; k++) {
        if (!any_bad(e->input + k * mics, mics)) continue;
        memset(e->input + k * mics, 0, (size_t)mics * sizeof(float));
        e->status.bad_frames++;
    }
}

/* Mutes bad frames of e->input; keeps the recent peak. Returns 1 for digital silence. */
static int sanitize(ee_enhancer *e)
{
    int count = e->hop * e->config.mics;
    if (any_bad(e->input, count)) mute_bad_frames(e);
    float peak = peak_of(e->input, count);
    e->peaks[e->peak_at] = peak;
    e->peak_at = (e->peak_at + 1) % e->peak_count;
    return peak == 0.0f;
}

/* Energy of each microphone in the hop. */
static void measure_input(const ee_enhancer *e, float *energies)
{
    int mics = e->config.mics;
    for (int m = 0; m < mics; m++) {
        float parts[4] = {0};
        for (int k = 0; k < e->hop; k += 4)
            for (int i = 0; i < 4; i++) parts[i] += e->input[(k + i) * mics + m] * e->input[(k + i) * mics + m];
        energies[m] = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
}

static void find_dead_mics(ee_enhancer *e, const float *energies)
{
    int mics = e->config.mics;
    float loudest = 0.0f;
    unsigned dead = 0;
    for (int m = 0; m < mics; m++) {
        e->mic_power[m] += e->meter * (energies[m] - e->mic_power[m]);
        loudest = e->mic_power[m] > loudest ? e->mic_power[m] : loudest;
    }
    for (int m = 0; m < mics; m++) {
        float limit = e->status.dead_mics >> m & 1u ? ALIVE_RATIO : DEAD_RATIO;
        if (e->mic_power[m] < limit * loudest) dead |= 1u << m;
    }
    if (dead == e->status.dead_mics) return;
    e->status.dead_mics = dead;
    if (e->config.beamformer == EE_BEAM_FIXED) aim(e);
}

/* Mean power of the hop's samples. */
static float hop_power(const ee_enhancer *e, const float *energies)
{
    float energy = 0.0f;
    for (int m = 0; m < e->config.mics; m++) energy += energies[m];
    return energy / (float)(e->hop * e->config.mics);
}

/* 1 where nobody but the talker is heard: delay-and-sum has nothing to take away. 0 where somebody is. */
static float judge_alone(ee_enhancer *e)
{
    if (!has_noise(e)) return 1.0f; /* one microphone cannot tell */
    e->sum_energy += e->loudness_rate * (ee_sum(e->squares + 2 * e->bins, e->bins) - e->sum_energy);
    e->mic_energy += e->loudness_rate * (ee_sum(e->squares + 3 * e->bins, e->bins) - e->mic_energy);
    float alone = (ALONE_OCTAVES - ee_log2((e->mic_energy + 1e-30f) / (e->sum_energy + 1e-30f))) / ALONE_RANGE;
    return alone > 1.0f ? 1.0f : alone < 0.0f ? 0.0f : alone;
}

/* Follows speech and the noise floor between words; sets e->need. */
static void judge_need(ee_enhancer *e, float power)
{
    if (e->floor_hops == 0 && e->loud == 0.0f) {
        e->short_power = power;
        for (int i = 0; i < FLOORS; i++) e->floors[i] = power;
    }
    e->short_power += e->quick * (power - e->short_power);
    e->loud = e->short_power > e->loud ? e->short_power : e->loud + e->fall * (e->short_power - e->loud);
    if (e->short_power < e->floors[0]) e->floors[0] = e->short_power;
    if (++e->floor_hops >= e->floor_most) {
        memmove(e->floors + 1, e->floors, (FLOORS - 1) * sizeof(float));
        e->floors[0] = e->short_power;
        e->floor_hops = 0;
    }
    float least = e->floors[0];
    for (int i = 1; i < FLOORS; i++) least = e->floors[i] < least ? e->floors[i] : least;
    float above = e->loud / (least + 1e-30f) / QUIET_LOW, quiet = above > 1.0f ? ee_log2(above) / QUIET_OCTAVES : 0.0f;
    e->need = 1.0f - (quiet < 1.0f ? quiet : 1.0f) * judge_alone(e);
}

/* A burst (slam, clap, full-scale fault) is let through and teaches nothing: returns 1 until it has left the window. */
static int in_burst(ee_enhancer *e, float power)
{
    int loud = e->heard == e->burst_most && power > BURST * e->loudness;
    e->burst_hops = loud ? e->burst_hops + 1 : 0;
    if (loud && e->burst_hops <= e->burst_most) {
        e->guard = e->config.analysis / e->hop;
        return 1;
    }
    if (e->heard < e->burst_most) e->heard++;
    float rate = 1.0f / (float)e->heard; /* a plain mean at first */
    if (e->heard == e->burst_most) rate = e->loudness_rate;
    e->loudness += rate * (power - e->loudness);
    if (loud || !e->guard) e->guard = 0;
    else e->guard--;
    return e->guard > 0;
}

/* ---- beams ---- */

/* R starts as the diffuse prior at the level of the first sound. */
static void start_covariance(ee_enhancer *e)
{
    int mics = e->config.mics, bins = e->bins;
    for (int f = 0; f < bins; f++) {
        float power = 0.0f;
        for (int i = 0; i < 2 * mics; i++) power += e->X[i * bins + f] * e->X[i * bins + f];
        for (int p = 0; p < mics * mics; p++) e->covariance[p * bins + f] = e->prior[p * bins + f] * power / (float)mics;
    }
    start_speech(e);
    e->covariance_started = 1;
}

/* y += a b, or a conj(b) with sign -1; a is a packed plane pair, b a spectrum. */
EE_INLINE void add_product(float *restrict yr, float *restrict yi, const float *restrict re, const float *restrict im,
                           float sign, const float *restrict b, int bins, int count)
{
    for (int f = 0; f < count; f++) {
        yr[f] += re[f] * b[f] - sign * im[f] * b[bins + f];
        yi[f] += re[f] * b[bins + f] + sign * im[f] * b[f];
    }
}

/* transfer = Phi w, Phi the talker's covariance: one step of the power method from the beam, which already lets little else
 * through, so it points along the talker's transfer functions. */
EE_VECTOR static void hear_talker(ee_enhancer *e, int first, int count)
{
    int mics = e->config.mics, bins = e->bins;
    for (int i = 0; i < mics; i++) {
        float *yr = e->transfer + 2 * i * bins + first, *yi = yr + bins;
        memset(yr, 0, (size_t)count * sizeof(float));
        memset(yi, 0, (size_t)count * sizeof(float));
        for (int j = 0; j < mics; j++) {
            const float *b = e->weights + 2 * j * bins + first;
            int plane = i > j ? i * i + 2 * j : j * j + 2 * i;
            const float *re = e->speech + plane * bins + first;
            if (i != j) add_product(yr, yi, re, re + bins, i > j ? 1.0f : -1.0f, b, bins, count);
            else add_product(yr, yi, re, re, 0.0f, b, bins, count);
        }
    }
}

/* 1 / |transfer_ref|^2; 0 where the reference hears too little of the talker */
EE_VECTOR static void invert_reference(const ee_enhancer *e, int first, int count, float *restrict inverse)
{
    int bins = e->bins;
    const float *restrict rr = e->transfer + 2 * e->config.reference[0] * bins + first, *restrict ri = rr + bins;
    memset(inverse, 0, (size_t)count * sizeof(float));
    for (int i = 0; i < 2 * e->config.mics; i++) {
        const float *restrict x = e->transfer + i * bins + first;
        for (int f = 0; f < count; f++) inverse[f] += x[f] * x[f];
    }
    for (int f = 0; f < count; f++) {
        float power = rr[f] * rr[f] + ri[f] * ri[f];
        int clear = (power > FAINTEST * inverse[f]) & (power > SMALLEST);
        inverse[f] = clear ? 1.0f / power : 0.0f;
    }
}

/* d goes `blend` of the way to h conj(r) / |r|^2, which counts as at most |d| away from d. turn: NULL or the look's phases */
EE_INLINE void blend_one(const float *restrict d, const float *restrict turn, const float *restrict h,
                         const float *restrict r, const float *restrict inverse, float blend, int bins, int count,
                         float *restrict out_re, float *restrict out_im)
{
    for (int f = 0; f < count; f++) {
        float dr = turn ? d[f] * turn[f] - d[bins + f] * turn[bins + f] : d[f];
        float di = turn ? d[f] * turn[bins + f] + d[bins + f] * turn[f] : d[bins + f];
        float hr = (h[f] * r[f] + h[bins + f] * r[bins + f]) * inverse[f];
        float hi = (h[bins + f] * r[f] - h[f] * r[bins + f]) * inverse[f];
        float xr = inverse[f] > 0.0f ? hr - dr : 0.0f, xi = inverse[f] > 0.0f ? hi - di : 0.0f;
        float away = xr * xr + xi * xi, most = dr * dr + di * di;
        float share = sqrtf(most / (away > most ? away : most + SMALLEST));
        out_re[f] = dr + blend * share * xr;
        out_im[f] = di + blend * share * xi;
    }
}

EE_VECTOR static void blend_steering(ee_enhancer *e, int first, int count)
{
    int bins = e->bins;
    float blend = e->status.dead_mics ? 0.0f : e->config.steering_blend, *inverse = e->mixed; /* scratch until synthesis */
    const float *reference = e->transfer + 2 * e->config.reference[0] * bins + first;
    if (blend > 0.0f) {
        hear_talker(e, first, count);
        invert_reference(e, first, count, inverse);
    } else
        memset(inverse, 0, (size_t)count * sizeof(float));
    for (int m = 0; m < e->config.mics; m++) {
        int at = 2 * m * bins + first;
        blend_one(e->steering + at, follows(e) ? e->track.look + at : NULL, e->transfer + at, reference, inverse, blend,
                  bins, count, e->blended + at, e->blended + at + bins);
    }
}

/* Solve this hop's share of the bins, so that no hop is a peak. */
static void renew_weights(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    int first = (int)((int64_t)e->solve_at * e->bins / c->solve_hops);
    int count = (int)(((int64_t)e->solve_at + 1) * e->bins / c->solve_hops) - first;
    if (count > 0) {
        blend_steering(e, first, count);
        ee_mvdr_weights(e->covariance, e->prior, c->prior_weight, e->blended, e->status.dead_mics, c->mics, e->bins,
                        first, count, e->weights);
    }
    e->solve_at = (e->solve_at + 1) % c->solve_hops;
}

EE_VECTOR static void approach(float *restrict used, const float *restrict goal, size_t count, float fade)
{
    for (size_t i = 0; i < count; i++) used[i] += fade * (goal[i] - used[i]);
}

EE_INLINE void approach_turned_one(float *restrict re, float *restrict im, const float *restrict goal,
                                   const float *restrict turn, int bins, float fade)
{
    for (int f = 0; f < bins; f++) {
        re[f] += fade * (goal[f] * turn[f] - goal[bins + f] * turn[bins + f] - re[f]);
        im[f] += fade * (goal[f] * turn[bins + f] + goal[bins + f] * turn[f] - im[f]);
    }
}

/* approach, for `spectra` tables designed for the look direction, to be turned to where the talker is followed to. */
EE_VECTOR static void approach_turned(const ee_enhancer *e, float *used, const float *goal, int first_mic, int spectra)
{
    int bins = e->bins;
    if (!follows(e)) {
        approach(used, goal, 2 * (size_t)(spectra * bins), e->fade);
        return;
    }
    for (int m = 0; m < spectra; m++) {
        float *re = used + 2 * m * bins;
        const float *turn = e->track.look + 2 * (first_mic + m) * bins;
        approach_turned_one(re, re + bins, goal + 2 * m * bins, turn, bins, e->fade);
    }
}

static void move_beams(ee_enhancer *e)
{
    if (e->covariance_started || e->settling) approach(e->weights_used, e->weights, array_size(e), e->fade);
    if (!e->settling) return;
    if (has_noise(e)) approach_turned(e, e->noise_used, e->noise, 0, e->config.mics);
    if (has_noise(e)) approach_turned(e, e->sum_used, e->sum, 0, e->config.mics);
    if (e->ear) approach_turned(e, e->ear_used, e->ear, e->config.reference[1], 1);
    e->settling--;
}

EE_VECTOR static void multiply(const float *restrict a, const float *restrict b, int bins, float *restrict out)
{
    for (int f = 0; f < bins; f++) {
        out[f] = a[f] * b[f] - a[bins + f] * b[bins + f];
        out[bins + f] = a[f] * b[bins + f] + a[bins + f] * b[f];
    }
}

static void form_beams(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    if (e->covariance_started) renew_weights(e);
    move_beams(e);
    ee_beam_apply(e->weights_used, e->X, c->mics, e->bins, e->Y);
    if (e->ear) multiply(e->Y, e->ear_used, e->bins, e->Y + 2 * e->bins);
    if (!has_noise(e)) return;
    ee_beam_apply(e->noise_used, e->X, c->mics, e->bins, e->U);
    if (c->mask) ee_beam_apply(e->sum_used, e->X, c->mics, e->bins, e->S);
}

/* ---- mask ---- */

/* squares = scale |X|^2; `more`: added to what they hold */
EE_INLINE void add_squares(const float *restrict X, int bins, float scale, int more, float *restrict squares)
{
    for (int f = 0; f < bins; f++)
        squares[f] = (more ? squares[f] : 0.0f) + scale * (X[f] * X[f] + X[bins + f] * X[bins + f]);
}

/* Mean |X|^2 over `count` spectra, one after the other. */
EE_VECTOR static void mean_squares(const float *X, int count, int bins, float *squares)
{
    float scale = 1.0f / (float)count;
    add_squares(X, bins, scale, 0, squares);
    for (int i = 1; i < count; i++) add_squares(X + 2 * i * bins, bins, scale, 1, squares);
}

/* Powers of the beam, the noise reference, delay-and-sum and the microphones. */
static void measure_bands(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    const float *spectra[EE_SIGNALS] = {e->Y, e->U, e->S, e->X};
    const int counts[EE_SIGNALS] = {c->ears, has_noise(e), has_noise(e) && c->mask, c->mics > 1 ? c->mics : 0};
    for (int s = 0; s < EE_SIGNALS; s++) {
        float *squares = e->squares + s * e->bins;
        if (!counts[s]) continue;
        mean_squares(spectra[s], counts[s], e->bins, squares);
        ee_bands_power(c->centers, c->bands, squares, e->power[s]);
    }
}

/* Calls the mask function; on failure the gains are 1. Returns EE_OK or EE_ERR_MASK. */
static int ask_mask(ee_enhancer *e)
{
    int bands = e->config.bands;
    int16_t *gains = e->q15 + EE_SIGNALS * bands;
    const float *powers[EE_SIGNALS] = {e->power[0]};
    for (int s = 1; s < EE_SIGNALS && has_noise(e) && !e->status.dead_mics; s++) /* a null needs all microphones */
        powers[s] = e->power[s];
    ee_features_update(&e->features, powers, bands, e->q15);
    int failed = e->config.mask(e->config.mask_user, e->q15, gains) != 0;
    for (int b = 0; b < bands; b++) {
        float gain = (float)gains[b] / ONE_Q15;
        e->gains[b] = failed ? 1.0f : gain < 0.0f ? 0.0f : gain;
    }
    spread_gains(e);
    e->status.mask_failures += (uint64_t)failed;
    return failed ? EE_ERR_MASK : EE_OK;
}

/* Without a network the beams themselves tell where the talker is: much in the beam, little in the noise reference. */
static void estimate_presence(ee_enhancer *e)
{
    for (int b = 0; b < e->config.bands; b++) {
        e->presence_beam[b] += e->meter * (e->power[0][b] - e->presence_beam[b]);
        e->presence_noise[b] += e->meter * (e->power[1][b] - e->presence_noise[b]);
        int heard = e->presence_beam[b] > e->presence_noise[b];
        e->presence[b] = heard ? 1.0f - e->presence_noise[b] / e->presence_beam[b] : 0.0f;
    }
}

EE_INLINE void add(const float *restrict x, int count, float *restrict sum)
{
    for (int i = 0; i < count; i++) sum[i] += x[i];
}

/* The noise covariance learns at the rate (1 - g)^4, so that it leaves the talker alone; the talker's own at g^2. A hop
 * counts as at most LOUDEST times the noise known: a burst must not wipe out what was learned before. */
EE_VECTOR static void set_rates(const ee_enhancer *e, const float *restrict presence, float *restrict rate,
                                float *restrict speech_rate, float *restrict known)
{
    int mics = e->config.mics, bins = e->bins;
    float forget = e->forget, forget_speech = e->forget_speech, loudest = LOUDEST / (float)mics;
    const float *restrict heard = e->squares + 3 * bins; /* per microphone */
    memset(known, 0, (size_t)bins * sizeof(float));
    for (int m = 0; m < mics; m++) add(e->covariance + (m * m + 2 * m) * bins, bins, known);
    for (int f = 0; f < bins; f++) {
        float absent = (1.0f - presence[f]) * (1.0f - presence[f]), most = loudest * known[f];
        float tamed = heard[f] > most ? most / heard[f] : 1.0f;
        speech_rate[f] = forget_speech * presence[f] * presence[f];
        rate[f] = forget * absent * absent * tamed;
    }
}

static void follow_talker(ee_enhancer *e)
{
    if (e->status.dead_mics || !ee_track_hop(&e->track, e->steering, e->speech, e->covariance)) return;
    e->status.look_steps = e->track.turned;
    e->settling = SETTLE_HOPS;
}

static void learn_noise(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    float *presence = e->bin_gains, *speech_rate = e->mixed, *known = e->mixed + e->bins; /* scratch until synthesis */
    if (!e->covariance_started) start_covariance(e);
    if (!c->mask) {
        if (!has_noise(e)) return;
        estimate_presence(e);
        presence = e->squares + 2 * e->bins; /* of delay-and-sum, for the network alone */
        ee_bands_expand(c->centers, c->bands, e->presence, e->bins, presence);
    }
    set_rates(e, presence, e->rate, speech_rate, known);
    ee_covariances_update(e->covariance, e->rate, e->speech, speech_rate, e->X, c->mics, e->bins);
    if (follows(e)) follow_talker(e);
}

/* ---- output ---- */

static float step_towards(float at, float goal)
{
    const float step = 1.0f / RAMP_HOPS;
    return goal > at + step ? at + step : goal < at - step ? at - step : goal;
}

/* strength * gain * ((1 - cues) * beam + cues * ear) + (1 - strength) * ear, all aligned: nothing can comb-filter */
EE_VECTOR static void mix_ear(ee_enhancer *e, int ear)
{
    int bins = e->bins, reference = e->config.reference[ear];
    int dead = e->status.dead_mics >> reference & 1u;
    const float *restrict y = e->Y + 2 * ear * bins;
    const float *restrict x = dead ? y : e->X + 2 * reference * bins;
    const float *restrict gain = e->bin_gains;
    float *restrict out = e->mixed;
    float strength = e->strength, cues = e->cues;
    for (int part = 0; part < 2 * bins; part += bins)
        for (int f = 0; f < bins; f++) {
            float ear_signal = x[part + f], beam = y[part + f] + cues * (ear_signal - y[part + f]);
            out[part + f] = ear_signal + strength * (gain[f] * beam - ear_signal);
        }
}

/* Within the headroom above the recent input. */
static void bound(ee_enhancer *e)
{
    float most = 0.0f;
    for (int i = 0; i < e->peak_count; i++) most = e->peaks[i] > most ? e->peaks[i] : most;
    most *= HEADROOM;
    for (int k = 0; k < e->hop * e->config.ears; k++) {
        float y = e->output[k];
        e->output[k] = y > most ? most : y < -most ? -most : y;
    }
}

/* Cross-fades to the reference microphones as they came in, as late as what comes out. */
static void pass_by(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    float from = e->bypass, to = step_towards(from, c->bypass ? 1.0f : 0.0f), step = (to - from) / (float)e->hop;
    e->bypass = to;
    if (from <= 0.0f && to <= 0.0f) return;
    for (int ear = 0; ear < c->ears; ear++) {
        const float *x = e->history + (c->reference[ear] + 1) * c->analysis - c->synthesis;
        for (int k = 0; k < e->hop; k++) {
            float share = from + step * (float)(k + 1), *y = e->output + k * c->ears + ear;
            *y = share < 1.0f ? *y + share * (x[k] - *y) : x[k];
        }
    }
}

static void limit(ee_enhancer *e)
{
    if (e->config.ceiling <= 0.0f) return;
    e->status.limiter_gain = ee_limiter_hop(&e->limiter, e->output, e->hop, e->config.ears);
    e->status.limited_hops += e->status.limiter_gain < 1.0f;
}

static void synthesize(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    e->status.strength = e->strength = step_towards(e->strength, c->strength * e->need);
    e->cues = step_towards(e->cues, c->cues);
    for (int ear = 0; ear < c->ears; ear++) {
        mix_ear(e, ear);
        ee_stft_synthesize(e->stft, e->overlap + ear * e->hop, e->mixed, e->output + ear, c->ears);
    }
    bound(e);
    pass_by(e);
    limit(e);
}

/* ---- the hop, and blocks of any size ---- */

static int process_hop(ee_enhancer *e)
{
    const ee_config *c = &e->config;
    take_settings(e);
    int silent = sanitize(e), code = EE_OK;
    float energies[EE_MAX_MICS];
    measure_input(e, energies);
    if (!silent && c->mics > 1) find_dead_mics(e, energies);
    for (int m = 0; m < c->mics; m++)
        ee_stft_analyze(e->stft, e->history + m * c->analysis, e->input + m, c->mics, e->X + 2 * m * e->bins);
    form_beams(e);
    float power = hop_power(e, energies);
    int burst = !silent && in_burst(e, power);
    if (burst) open_gains(e);
    else if (!silent) {
        measure_bands(e);
        if (c->mask) judge_need(e, power);
        if (c->mask) code = ask_mask(e);
        if (c->beamformer == EE_BEAM_MVDR) learn_noise(e);
    }
    synthesize(e);
    e->status.hops++;
    publish(e);
    return code;
}

int ee_enhancer_process(ee_enhancer *e, const float *in, float *out, size_t frames)
{
    if (!e || (frames && (!in || !out))) return EE_ERR_NULL;
    size_t mics = (size_t)e->config.mics, ears = (size_t)e->config.ears, hop = (size_t)e->hop;
    int aligned = e->config.aligned, code = EE_OK;
    if (aligned && frames % hop) return EE_ERR_FRAMES;
    while (frames) {
        size_t at = (size_t)e->fill, n = frames < hop - at ? frames : hop - at;
        memcpy(e->input + at * mics, in, n * mics * sizeof(float));
        if (!aligned) memcpy(out, e->output + at * ears, n * ears * sizeof(float)); /* made one hop ago */
        e->fill = (int)((at + n) % hop);
        if (at + n == hop) {
            int result = process_hop(e);
            code = result ? result : code;
            if (aligned) memcpy(out, e->output, n * ears * sizeof(float));
        }
        in += n * mics;
        out += n * ears;
        frames -= n;
    }
    return code;
}
