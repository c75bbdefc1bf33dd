// Bodies made to hurt a msgpack parser, as the content of every frame type and of a login: nothing
// is allocated for them, not even in passing, and they are refused at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/wire/frame.h"
#include "tests/unit/heap_watch.h"

#define BODY_MAX 10000
#define ROUNDS   2000
#define ALLOWED  65536 // bytes of memory

struct body {
    const char *what;
    size_t len;
    uint8_t data[BODY_MAX];
};

static struct body bodies[32];
static size_t body_count;
static char result[200]; // the figures, told last

static void add(const char *what, const char *data, size_t len)
{
    struct body *b = &bodies[body_count++];

    b->what = what;
    b->len = len;
    memcpy(b->data, data, len);
}

static void add_repeated(const char *what, uint8_t byte, size_t len)
{
    struct body *b = &bodies[body_count++];

    b->what = what;
    b->len = len;
    memset(b->data, byte, len);
}

#define ADD(what, text) add(what, text, sizeof(text) - 1)

static void make_bodies(void)
{
    ADD("array32 of 4 G", "\xdd\xff\x00\x00\x00");
    ADD("array32 of all", "\xdd\xff\xff\xff\xff");
    ADD("map32 of all", "\xdf\xff\xff\xff\xff");
    ADD("map32 of 2 G in an array", "\x92\x01\xdf\x7f\xff\xff\xff");
    ADD("map16 of all", "\xde\xff\xff");
    ADD("bin32 of all", "\x91\xc6\xff\xff\xff\xff");
    ADD("str32 of all", "\x91\xdb\xff\xff\xff\xff");
    ADD("ext32 of all", "\x91\xc9\xff\xff\xff\xff\x01");
    ADD("ext8 cut short", "\x91\xc7\x10\x05zz");
    ADD("fixext16 cut short", "\x91\xd8\x01zz");
    ADD("ext8 without its type", "\x91\xc7\x00");
    ADD("ext for a number", "\x97\xd4\x01z\x01\x01\x01\x01\x01\x01");
    ADD("one key twice", "\x97\x82\xa1z\x01\xa1z\x02\x01\x01\x01\x01\x01\x01");
    ADD("NaN for numbers", "\x97\xcb\x7f\xf8\0\0\0\0\0\0\xca\x7f\xc0\0\0\x01\x01\x01\x01\x01");
    ADD("infinity for numbers", "\x97\xcb\x7f\xf0\0\0\0\0\0\0\x01\x01\x01\x01\x01\x01");
    ADD("minus one for numbers", "\x97\xff\xff\xff\xff\xff\xff\xff");
    ADD("the byte without a meaning", "\xc1");
    ADD("bytes behind the end", "\x90\x90");
    add_repeated("10000 arrays, each in the one before", 0x91, BODY_MAX);
    add_repeated("10000 maps, each in the one before", 0x81, BODY_MAX);
    add_repeated("10000 arrays of 15", 0x9f, BODY_MAX);
    add_repeated("10000 nils", 0xc0, BODY_MAX);
    struct body *wide = &bodies[body_count++];
    wide->what = "an array of 9997 nils";
    wide->len = BODY_MAX;
    memset(wide->data, 0xc0, BODY_MAX);
    memcpy(wide->data, "\xdc\x27\x0d", 3);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// Every frame type but logout, which has no content.
static void refuse_all(struct pqb_unpacker *u, const struct body *b)
{
    for (unsigned code = 0; code <= UINT8_MAX; code++) {
        struct pqb_frame f;

        if (!pqb_frame_is_known((uint8_t)code) || code == PQB_FRAME_LOGOUT)
            continue;
        if (pqb_frame_decode(u, (uint8_t)code, (struct pqb_bytes){b->data, b->len}, &f) ==
            PQB_VERDICT_OK)
            fail_msg("%s passed as %s", b->what, pqb_frame_name((uint8_t)code));
    }
}

// The shortest of some rounds: what else runs on the machine is not to be measured.
static uint64_t time_to_refuse(struct pqb_unpacker *u, const struct body *b)
{
    const struct pqb_bytes content = {b->data, b->len};
    uint64_t best = UINT64_MAX;
    struct pqb_frame f;

    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t begun = now_ns();

        (void)!pqb_frame_decode(u, PQB_FRAME_MSG_R, content, &f);
        best = PQB_MIN(best, now_ns() - begun);
    }
    return best;
}

static void hostile_bodies_are_refused_at_once_and_cost_no_memory(void **state)
{
    // No unit test depends on time; the full dose, which is run by hand, does.
    const bool is_timed = getenv("PQB_LONG") != NULL;
    struct pqb_unpacker *u = NULL;
    size_t most = 0;
    uint64_t slowest = 0;

    (void)state;
    make_bodies();
    assert_int_equal(pqb_unpacker_create(&u), PQB_OK);
    for (size_t i = 0; i < body_count; i++) {
        heap_watch_begin();
        refuse_all(u, &bodies[i]);
        const size_t asked = heap_watch_end();
        const uint64_t ns = time_to_refuse(u, &bodies[i]);

        if (asked > ALLOWED)
            fail_msg("%s: %zu bytes of memory", bodies[i].what, asked);
        if (is_timed && ns > HOSTILE_NS_MAX)
            fail_msg("%s: refused after %llu ns", bodies[i].what, (unsigned long long)ns);
        most = PQB_MAX(most, asked);
        slowest = PQB_MAX(slowest, ns);
    }
    pqb_unpacker_destroy(u);
    (void)snprintf(
        result, sizeof(result),
        "%zu hostile bodies: all refused, at most %zu bytes allocated (limit %d), slowest %llu ns "
        "(limit %d)",
        body_count, most, ALLOWED, (unsigned long long)slowest, HOSTILE_NS_MAX);
}

// Without this the figure above would prove nothing.
static void the_watch_sees_what_is_allocated(void **state)
{
    struct pqb_unpacker *u = NULL;

    (void)state;
    heap_watch_begin();
    assert_int_equal(pqb_unpacker_create(&u), PQB_OK);
    pqb_unpacker_destroy(u);
    assert_true(heap_watch_end() > 10000); // the zone of msgpack-c
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_watch_sees_what_is_allocated),
        cmocka_unit_test(hostile_bodies_are_refused_at_once_and_cost_no_memory),
    };

    const int failed = cmocka_run_group_tests_name("hostile_msgpack", tests, NULL, NULL);

    if (failed == 0)
        printf("%s\n", result);
    return failed;
}
