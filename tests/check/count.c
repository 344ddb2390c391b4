/*
 * count.c: a plugin for qemu-user that prints how many instructions a program took, the same number on every run.
 *
 *   gcc -shared -fPIC -o count.so count.c && qemu-aarch64 -plugin ./count.so -d plugin PROGRAM
 *
 * Declares what it needs of QEMU's plugin interface, version 1: Debian ships no header.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_plugin_tb block; /* translated instructions that run one after the other */
enum { ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*call)(qemu_plugin_id_t, block *));
void qemu_plugin_register_vcpu_tb_exec_inline(block *b, int operation, void *counter, uint64_t amount);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*call)(qemu_plugin_id_t, void *), void *user);
size_t qemu_plugin_tb_n_insns(const block *b);
void qemu_plugin_outs(const char *text);
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
static uint64_t instructions;

static void translated(qemu_plugin_id_t id, block *b)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(b, ADD_U64, &instructions, qemu_plugin_tb_n_insns(b));
}

static void ended(qemu_plugin_id_t id, void *user)
{
    char text[40];
    (void)id, (void)user;
    snprintf(text, sizeof text, "instructions %" PRIu64 "\n", instructions);
    qemu_plugin_outs(text);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
