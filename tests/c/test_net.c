/*
 * test_net.c: network programs in C, as firmware has them. The gains are those that LiteRT gave (small_nets.h, written by
 * tests/sdk/test_c_programs.py); thousands of changed programs, their CRC made right, are refused or stay within bounds:
 * run with the sanitizers, the network's memory exactly as large as asked for.
 */
#define _POSIX_C_SOURCE 200112L /* posix_memalign: malloc aligns to 8 bytes on 32-bit machines */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/internal.h"
#include "small_nets.h"

enum { HOPS = 200, MUTATIONS = 20000 };

static int failures;

#define CHECK(what, truth)                                                        \
    do {                                                                          \
        if (!(truth)) {                                                           \
            printf("NOT OK %s (%s:%d: %s)\n", what, __FILE__, __LINE__, #truth);  \
            failures++;                                                           \
        }                                                                         \
    } while (0)

static uint32_t random_word(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static ee_net *make_net(const void *program, size_t bytes, void **memory)
{
    ee_net *net = NULL;
    size_t size = ee_net_size(program, bytes);
    if (!size || posix_memalign(memory, 16, size)) return NULL;
    memset(*memory, 0x5a, size);
    CHECK("init", ee_net_init(&net, *memory, size, program, bytes) == EE_OK);
    return net;
}

/* Of the gains over HOPS hops of random features. */
static uint32_t hash_of_gains(ee_net *net)
{
    int16_t features[EE_SIGNALS * EE_MAX_BANDS], gains[EE_MAX_BANDS];
    uint32_t state = 5, hash = 2166136261u;
    ee_net_facts facts;
    ee_net_describe(net, &facts);
    for (int h = 0; h < HOPS; h++) {
        for (int i = 0; i < EE_SIGNALS * facts.bands; i++) features[i] = (int16_t)(int)(random_word(&state) % 65536u - 32768u);
        CHECK("a hop", ee_net_step(net, features, gains) == EE_OK);
        for (int b = 0; b < facts.bands; b++) hash = (hash ^ (uint16_t)gains[b]) * 16777619u;
    }
    return hash;
}

static void test_gains_are_those_of_litert(void)
{
    for (int n = 0; n < SMALL_NETS; n++) {
        const small_net *small = &small_nets[n];
        void *memory = NULL;
        ee_net *net = make_net(small->program, small->bytes, &memory);
        ee_net_facts facts;
        CHECK("a program", net != NULL);
        if (!net) return;
        ee_net_describe(net, &facts);
        CHECK("facts", facts.sample_rate == 16000 && facts.analysis == 512 && facts.synthesis == 128);
        CHECK("centers", facts.centers[0] == 0 && facts.centers[facts.bands - 1] == 256);
        uint32_t hash = hash_of_gains(net);
        if (small->hash) CHECK("gains", hash == small->hash);
        CHECK("a state is kept", hash_of_gains(net) != hash);
        ee_net_reset(net);
        CHECK("reset", hash_of_gains(net) == hash);
        ee_net_reset(net);
#if defined(__x86_64__)
        if (small->hash && __builtin_cpu_supports("avx2")) CHECK("AVX2 is used", !strcmp(facts.simd, "avx2"));
#endif
        ee_net_vectorize(net, 0);
        ee_net_describe(net, &facts);
        CHECK("another name without vector instructions", strcmp(facts.simd, "avx2"));
        CHECK("the same without vector instructions", hash_of_gains(net) == hash);
        free(memory);
    }
}

static void test_what_is_refused(void)
{
    const small_net *small = &small_nets[0];
    size_t size = ee_net_size(small->program, small->bytes);
    void *memory = NULL;
    ee_net *net = make_net(small->program, small->bytes, &memory);
    int16_t samples[EE_SIGNALS * EE_MAX_BANDS] = {0};
    CHECK("no program", ee_net_size(NULL, 100) == 0 && ee_net_init(&net, memory, size, NULL, 0) == EE_ERR_CONFIG);
    CHECK("too small", ee_net_init(&net, memory, size - 1, small->program, small->bytes) == EE_ERR_MEMORY);
    CHECK("unaligned", ee_net_init(&net, (char *)memory + 8, size, small->program, small->bytes) == EE_ERR_MEMORY);
    CHECK("no memory", ee_net_init(&net, NULL, size, small->program, small->bytes) == EE_ERR_NULL);
    CHECK("nothing to step", ee_net_step(NULL, samples, samples) == EE_ERR_NULL);
    CHECK("no features", ee_net_step(net, NULL, samples) == EE_ERR_NULL);
    CHECK("no gains", ee_net_step(net, samples, NULL) == EE_ERR_NULL);
    free(memory);
    unsigned char *copy = malloc(small->bytes + 4);
    for (size_t bytes = 0; bytes < small->bytes; bytes++) { /* exactly so many bytes: a read too far is found */
        unsigned char *part = malloc(bytes ? bytes : 1);
        memcpy(part, small->program, bytes);
        CHECK("cut short", ee_net_size(part, bytes) == 0);
        free(part);
    }
    memcpy(copy + 1, small->program, small->bytes);
    CHECK("unaligned program", ee_net_size(copy + 1, small->bytes) == 0);
    memcpy(copy, small->program, small->bytes);
    for (size_t at = 0; at < small->bytes; at += 7) {
        copy[at] ^= 16;
        CHECK("a changed bit", ee_net_size(copy, small->bytes) == 0);
        copy[at] ^= 16;
    }
    CHECK("unchanged", ee_net_size(copy, small->bytes) == size);
    free(copy);
}

static void sign(unsigned char *program, size_t bytes)
{
    uint32_t crc = 0xffffffffu, total = (uint32_t)bytes;
    for (size_t i = 16; i < bytes; i++) {
        crc ^= program[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1u ? 0xedb88320u : 0u);
    }
    crc = ~crc;
    memcpy(program + 8, &total, 4);
    memcpy(program + 12, &crc, 4);
}

/* A word of header or ops becomes small, huge, near what it was or random; sometimes the program is cut short, too. */
static size_t mutate(unsigned char *program, size_t bytes, uint32_t *state)
{
    const uint32_t odd[] = {0, 1, 2, 3, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000u, 0xfffffffeu, 0xffffffffu};
    uint32_t head;
    memcpy(&head, program + 68, 4); /* number of ops */
    head = 18 + 16 * head;
    for (uint32_t change = 0, changes = 1 + random_word(state) % 3; change < changes; change++) {
        uint32_t word, at = 4 * (random_word(state) % 8 ? random_word(state) % head : random_word(state) % (uint32_t)(bytes / 4));
        memcpy(&word, program + at, 4);
        switch (random_word(state) % 4) {
        case 0: word = odd[random_word(state) % (sizeof odd / sizeof odd[0])]; break;
        case 1: word += random_word(state) % 65 - 32u; break;
        case 2: word ^= 1u << random_word(state) % 32; break;
        default: word = random_word(state) % (uint32_t)(2 * bytes); break;
        }
        memcpy(program + at, &word, 4);
    }
    return random_word(state) % 16 ? bytes : bytes - random_word(state) % bytes / 4 * 4;
}

static void test_changed_programs_stay_within_bounds(void)
{
    uint32_t state = 11, runs = 0;
    int16_t features[EE_SIGNALS * EE_MAX_BANDS], gains[EE_MAX_BANDS];
    for (int m = 0; m < MUTATIONS; m++) {
        const small_net *small = &small_nets[m % SMALL_NETS];
        unsigned char *copy = malloc(small->bytes);
        memcpy(copy, small->program, small->bytes);
        size_t bytes = mutate(copy, small->bytes, &state);
        unsigned char *program = malloc(bytes);
        memcpy(program, copy, bytes);
        if (bytes >= 16) sign(program, bytes);
        void *memory = NULL;
        ee_net *net = make_net(program, bytes, &memory);
        for (int h = 0; net && h < 3; h++) {
            for (int i = 0; i < EE_SIGNALS * EE_MAX_BANDS; i++) features[i] = (int16_t)(h == 1 ? -32768 : (int)(random_word(&state) % 65536u) - 32768);
            CHECK("a hop", ee_net_step(net, features, gains) == EE_OK);
        }
        runs += net != NULL;
        free(memory), free(program), free(copy);
    }
    printf("%u of %d changed programs ran\n", (unsigned)runs, MUTATIONS);
    CHECK("some run, some are refused", runs > MUTATIONS / 20 && runs < MUTATIONS - MUTATIONS / 20);
}

int main(void)
{
    test_gains_are_those_of_litert();
    test_what_is_refused();
    test_changed_programs_stay_within_bounds();
    printf(failures ? "NOT OK: %d failures\n" : "OK\n", failures);
    return failures != 0;
}
