/* A plugin for QEMU's user mode: the number of instructions that the guest executes, on stderr at the end.
 *
 *     cc -O2 -shared -fPIC tests/peers/insncount.c -o insncount.so
 *     qemu-aarch64 -plugin ./insncount.so PROGRAM …
 *
 * QEMU translates a guest's code block by block. Each block gets a call that adds the block's length whenever it is
 * entered; where a block is left early (a fault, an exclusive store that is tried again) the rest of it counts too. All
 * threads count into one number, atomically. The functions of the interface are declared here where QEMU's header is not
 * installed; these few have been the same since QEMU 4.2.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if __has_include(<qemu-plugin.h>)
#include <qemu-plugin.h>
#define EXPORTED QEMU_PLUGIN_EXPORT
EXPORTED int qemu_plugin_version = QEMU_PLUGIN_VERSION;
#else
#define EXPORTED __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info qemu_info_t;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*)(unsigned cpu, void *data),
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*)(qemu_plugin_id_t, void *), void *data);
/* The oldest version of the interface that has all of the above; newer QEMUs may ask for -DAPI_VERSION=. */
#ifndef API_VERSION
#define API_VERSION 1
#endif
EXPORTED int qemu_plugin_version = API_VERSION;
#endif

static uint64_t executed;

/* The block's length travels in the pointer: nothing has to be allocated, and nothing to outlive the block. */
static void entered(unsigned cpu, void *length)
{
    (void)cpu;
    __atomic_fetch_add(&executed, (uintptr_t)length, __ATOMIC_RELAXED);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    uintptr_t length = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, entered, QEMU_PLUGIN_CB_NO_REGS, (void *)length);
}

static void ended(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    fprintf(stderr, "instructions %" PRIu64 "\n", __atomic_load_n(&executed, __ATOMIC_RELAXED));
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
