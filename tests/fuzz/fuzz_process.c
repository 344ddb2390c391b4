/*
 * fuzz_process.c: an enhancer of any configuration under a storm of blocks, bad samples, settings and resets. Required:
 *   - a configuration is refused, or runs
 *   - every sample is finite, at most 6 dB above the peak of the input since the start, and at most the ceiling
 *   - a twin that takes each block in two pieces, and is made anew where the first is reset, gives the same bits
 * Tables are freed as soon as they may be. A command is a byte and its arguments: a new setter is a case in command().
 */
#include "fuzz.h"

enum { MICS = 4, FFT = 512, BINS = FFT / 2 + 1, BLOCK = 512, WORK = 16000, COMMANDS = 16, LOOKS = 16 };
enum { WEIGHTS, NOISE, STEERING, TURN, EAR, TABLES };

#define MOST 2.0f /* times the peak */

static const struct { int analysis, synthesis, sample_rate; } profiles[] = { /* low rates: seconds pass quickly */
    {512, 128, 16000}, {512, 512, 16000}, {64, 32, 2000}, {32, 32, 1000},
    {128, 32, 8000}, {64, 64, 16000}, {256, 64, 500}, {32, 32, 48000},
};

static int16_t centers[EE_MAX_BANDS];

typedef struct {
    ee_beam beam;
    float tables[TABLES][MICS * 2 * BINS], prior[MICS * MICS * BINS];
} look;

typedef struct {
    ee_enhancer *state;
    void *memory;
} instance;

/* ---- configuration ---- */

/* Spread evenly, where that is possible. */
static void make_centers(int bands, int analysis)
{
    if (bands < 2 || bands > EE_MAX_BANDS || analysis < 0 || analysis > EE_MAX_FFT) return;
    for (int b = 0; b < bands; b++) centers[b] = (int16_t)(b * (analysis / 2) / (bands - 1));
}

/* Deterministic, without a state: gains from features; fails now and then, and gives gains that are none. */
static int mask(void *user, const int16_t *features, int16_t *gains)
{
    const ee_config *c = user;
    uint32_t state = 1;
    for (int i = 0; i < EE_SIGNALS * c->bands; i++) state = state * 31 + (uint16_t)features[i];
    for (int b = 0; b < c->bands; b++) gains[b] = (int16_t)(int)((fuzz_random(&state) & 0xffff) - 32768);
    return fuzz_random(&state) % 16 == 0;
}

/* One number becomes anything. */
static void make_wild(ee_config *c, uint8_t which, fuzz_bytes *bytes)
{
    int *numbers[] = {&c->analysis, &c->synthesis, &c->sample_rate, &c->mics, &c->ears, &c->bands, &c->beamformer,
                      &c->solve_hops, &c->look_steps, &c->reference[0], &c->reference[1], &c->aligned, &c->bypass};
    float *reals[] = {&c->prior_weight, &c->noise_seconds, &c->steering_blend, &c->strength, &c->ceiling};
    if (which & 0x40) *reals[(which & 7) % 5] = fuzz_float(bytes);
    else *numbers[(which & 15) % 13] = (int)fuzz_word(bytes);
}

/* Reasonable, usually. */
static ee_config make_config(fuzz_bytes *bytes)
{
    ee_config c = {0};
    uint8_t kind = fuzz_byte(bytes), more = fuzz_byte(bytes), wild = fuzz_byte(bytes);
    c.analysis = profiles[kind & 7].analysis;
    c.synthesis = profiles[kind & 7].synthesis;
    c.sample_rate = profiles[kind & 7].sample_rate;
    c.aligned = kind >> 3 & 1;
    c.mics = 1 + (kind >> 4 & 3);
    c.ears = 1 + (kind >> 6 & 1);
    c.beamformer = kind >> 7 && c.mics > 1 ? EE_BEAM_MVDR : EE_BEAM_FIXED;
    c.reference[1] = c.mics - 1;
    c.bands = 2 + more % (c.analysis / 2 < 63 ? c.analysis / 2 : 63);
    c.prior_weight = more & 1 ? 0.01f : 0.5f;
    c.noise_seconds = more & 2 ? 0.4f : 0.01f;
    c.solve_hops = 1 + (more & 15);
    c.steering_blend = (float)(more >> 4 & 3) / 3.0f;
    c.look_steps = more >> 6 & 1 ? more & 7 : 0;
    c.strength = 1.0f;
    c.ceiling = wild & 0x20 ? 0.5f : 0.0f;
    if (wild & 0x80) make_wild(&c, wild, bytes);
    make_centers(c.bands, c.analysis);
    c.centers = centers;
    return c;
}

static void put(float *table, int bins, int m, int f, float re, float im)
{
    table[2 * m * bins + f] = re;
    table[(2 * m + 1) * bins + f] = im;
}

/* Steering vectors of unit phases, and what belongs to them. */
static look *make_look(const ee_config *c, uint8_t seed)
{
    int bins = c->analysis / 2 + 1, mics = c->mics;
    uint32_t state = seed;
    look *l = fuzz_block(sizeof *l);
    memset(l, 0, sizeof *l);
    for (int m = 0; m < mics; m++)
        for (int f = 0; f < bins; f++) {
            float slope = m ? (float)(fuzz_random(&state) % 200) / 100.0f - 1.0f : 0.0f;
            float re = 1.0f / sqrtf(1.0f + slope * slope), im = slope * re;
            float null = m == 0 ? 0.5f : m == 1 ? -0.5f : 0.0f;
            put(l->tables[WEIGHTS], bins, m, f, re / (float)mics, im / (float)mics);
            put(l->tables[NOISE], bins, m, f, null * re, null * im);
            put(l->tables[STEERING], bins, m, f, re, im);
            put(l->tables[TURN], bins, m, f, m ? 0.8f : 1.0f, m ? 0.6f : 0.0f);
            put(l->tables[EAR], bins, 0, f, re, im); /* of the last microphone */
            l->prior[(m * m + 2 * m) * bins + f] = 1.01f;
        }
    l->beam = (ee_beam){l->tables[WEIGHTS], NULL, NULL, l->tables[STEERING], l->tables[EAR], l->tables[TURN], l->prior};
    if (mics > 1) l->beam.noise = l->tables[NOISE], l->beam.sum = l->tables[WEIGHTS];
    return l;
}

static int start(instance *i, const ee_config *config, const ee_beam *beam)
{
    size_t size = ee_enhancer_size(config);
    if (!size) return 0;
    i->memory = fuzz_block(size);
    memset(i->memory, 0x5a, size);
    if (ee_enhancer_init(&i->state, i->memory, size, config, beam) == EE_OK) return 1;
    free(i->memory);
    return 0;
}

/* ---- commands ---- */

typedef struct {
    ee_config config;   /* with strength, cues and bypass as they are set now */
    look *looks[LOOKS]; /* the last one is set, those before may be in use */
    int count;
    instance first, twin;
    float peak, most;   /* of the input, of the output */
    size_t work; /* samples transformed */
} session;

static const ee_beam *beam(const session *s) { return &s->looks[s->count - 1]->beam; }

static void both(int first, int twin) { fuzz_require(first == twin); }

static void process(session *s, fuzz_bytes *bytes)
{
    static float in[BLOCK * MICS], out[BLOCK * 2], again[BLOCK * 2];
    const ee_config *c = &s->config;
    size_t mics = (size_t)c->mics, ears = (size_t)c->ears, hop = (size_t)c->synthesis / 2;
    size_t frames = (size_t)(fuzz_byte(bytes) * 2 + 1) % BLOCK;
    size_t part = frames * fuzz_byte(bytes) / 256;
    if (c->aligned && frames >= hop) frames -= frames % hop, part -= part % hop;
    fuzz_samples(bytes, in, frames * mics);
    s->peak = fuzz_peak(s->peak, in, frames, mics);
    s->most = c->ceiling > 0.0f && c->ceiling < MOST * s->peak ? c->ceiling : MOST * s->peak;
    int code = ee_enhancer_process(s->first.state, in, out, frames);
    if (c->aligned && frames % hop) {
        fuzz_require(code == EE_ERR_FRAMES);
        return;
    }
    fuzz_require(code == EE_OK || (code == EE_ERR_MASK && c->mask));
    int one = ee_enhancer_process(s->twin.state, in, again, part);
    int two = ee_enhancer_process(s->twin.state, in + part * mics, again + part * ears, frames - part);
    both(code, one ? one : two);
    for (size_t i = 0; i < frames * ears; i++) fuzz_require(fabsf(out[i]) <= s->most);
    fuzz_require(!memcmp(out, again, frames * ears * sizeof(float)));
    s->work += frames * (size_t)c->analysis / hop;
}

static void reset(session *s)
{
    both(ee_enhancer_reset(s->first.state), EE_OK);
    free(s->twin.memory);
    fuzz_require(start(&s->twin, &s->config, beam(s)));
    s->peak = 0.0f;
}

static void check_status(const session *s)
{
    ee_status a, b;
    memset(&a, 0, sizeof a), memset(&b, 0, sizeof b);
    both(ee_enhancer_status(s->first.state, &a), ee_enhancer_status(s->twin.state, &b));
    fuzz_require(!memcmp(&a, &b, sizeof a));
    fuzz_require(a.gain >= 0.0f && a.gain <= 1.00001f && a.strength >= 0.0f && a.strength <= 1.0f);
    int most = s->config.beamformer == EE_BEAM_MVDR ? s->config.look_steps : 0;
    fuzz_require(a.look_steps >= -most && a.look_steps <= most);
    fuzz_require(a.dead_mics >> s->config.mics == 0);
}

static void set(session *s, int (*setter)(ee_enhancer *, float), float *setting, float value)
{
    int code = setter(s->first.state, value);
    both(code, setter(s->twin.state, value));
    fuzz_require(code == (value >= 0.0f && value <= 1.0f ? EE_OK : EE_ERR_CONFIG));
    if (code == EE_OK) *setting = value;
}

static void set_look(session *s, uint8_t seed)
{
    if (s->count == LOOKS) return;
    s->looks[s->count++] = make_look(&s->config, seed);
    both(ee_enhancer_set_beam(s->first.state, beam(s)), ee_enhancer_set_beam(s->twin.state, beam(s)));
}

static void free_looks(session *s, int kept)
{
    while (s->count > kept) {
        free(s->looks[0]);
        memmove(s->looks, s->looks + 1, (size_t)--s->count * sizeof s->looks[0]);
    }
}

static void set_bypass(session *s, int bypass)
{
    both(ee_enhancer_set_bypass(s->first.state, bypass), ee_enhancer_set_bypass(s->twin.state, bypass));
    s->config.bypass = bypass;
}

static void command(session *s, fuzz_bytes *bytes)
{
    uint8_t what = fuzz_byte(bytes);
    float value = (what & 0x1c) == 0x10 ? fuzz_float(bytes) : (float)(what >> 5) / 7.0f; /* a setter's */
    switch (what % COMMANDS) {
    case 0: set_look(s, fuzz_byte(bytes)); break;
    case 1: set(s, ee_enhancer_set_strength, &s->config.strength, value); break;
    case 2: set(s, ee_enhancer_set_cues, &s->config.cues, value); break;
    case 3: set_bypass(s, what >> 5 & 1); break;
    case 4: reset(s); break;
    default: process(s, bytes); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes bytes = {data, data + size};
    session s = {0};
    s.config = make_config(&bytes);
    ee_config asked = s.config;
    if (fuzz_byte(&bytes) & 1) s.config.mask = mask, s.config.mask_user = &asked;
    if (!ee_enhancer_size(&s.config) || s.config.analysis > FFT || s.config.mics > MICS) return 0;
    s.looks[s.count++] = make_look(&s.config, fuzz_byte(&bytes));
    if (start(&s.first, &s.config, beam(&s))) {
        fuzz_require(start(&s.twin, &s.config, beam(&s)));
        while (bytes.at < bytes.end && s.work < WORK) {
            command(&s, &bytes);
            check_status(&s);
            if (!ee_enhancer_pending(s.first.state) && !ee_enhancer_pending(s.twin.state)) free_looks(&s, 1);
        }
        free(s.first.memory), free(s.twin.memory);
    }
    free_looks(&s, 0);
    return 0;
}
