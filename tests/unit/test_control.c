// The control socket's words, and chains over shards that the test plays itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/err.h"
#include "gateway/admin/chain.h"
#include "gateway/admin/control.h"

static size_t split(const char *text, char words[PQB_CONTROL_WORDS_MAX][32])
{
    char line[256];
    char *found[PQB_CONTROL_WORDS_MAX];
    size_t count;

    (void)snprintf(line, sizeof(line), "%s", text);
    count = pqb_control_split(line, found, PQB_CONTROL_WORDS_MAX);
    for (size_t i = 0; i < count; i++)
        (void)snprintf(words[i], 32, "%s", found[i]);
    return count;
}

static void words_are_split_at_spaces_and_unescaped(void **state)
{
    char words[PQB_CONTROL_WORDS_MAX][32];

    (void)state;
    assert_int_equal(split("kick a%20b%25 c", words), 3);
    assert_string_equal(words[0], "kick");
    assert_string_equal(words[1], "a b%");
    assert_string_equal(words[2], "c");
    assert_int_equal(split("user %c3%A9", words), 2);
    assert_string_equal(words[1], "\xc3\xa9");
    assert_int_equal(split("1 2 3 4 5 6 7 8", words), 8);
}

static void lines_that_are_not_commands_have_no_words(void **state)
{
    static const char *const lines[] = {
        "", " ", "a ", " a", "a  b", "%", "a%2", "a%zz", "a%00b", "1 2 3 4 5 6 7 8 9",
    };
    char words[PQB_CONTROL_WORDS_MAX][32];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(lines); i++)
        assert_int_equal(split(lines[i], words), 0);
}

// -------------------------------------------------------------------------------------- socket

struct server {
    struct event_base *base;
    struct pqb_control *control;
    char dir[32], path[64];
    uint64_t commands, refused;
    struct pqb_control_peer *waiting; // asked to "wait"
    unsigned gone;
};

static void on_command(void *ctx, struct pqb_control_peer *peer, char *const *words, size_t count)
{
    struct server *s = ctx;
    char answer[64];

    if (strcmp(words[0], "wait") == 0) {
        s->waiting = peer;
        return;
    }
    (void)snprintf(answer, sizeof(answer), "%s/%zu", words[0], count);
    pqb_control_answer(peer, answer);
}

static void on_gone(void *ctx, const struct pqb_control_peer *peer)
{
    struct server *s = ctx;

    assert_ptr_equal(peer, s->waiting);
    s->waiting = NULL;
    s->gone++;
}

static int make_server(void **state)
{
    struct server *s = calloc(1, sizeof(*s));
    const struct pqb_control_handler handler = {.ctx = s,
                                                .on_command = on_command,
                                                .on_gone = on_gone,
                                                .commands = &s->commands,
                                                .refused = &s->refused};

    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/test_control.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof(s->path), "%s/sock", s->dir);
    s->base = event_base_new();
    assert_int_equal(pqb_control_create(&s->control, s->base, s->path, &handler), PQB_OK);
    *state = s;
    return 0;
}

static int drop_server(void **state)
{
    struct server *s = *state;

    pqb_control_destroy(s->control);
    event_base_free(s->base);
    assert_int_equal(rmdir(s->dir), 0); // the socket is gone
    free(s);
    return 0;
}

static int connect_to(const struct server *s)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", s->path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static void run(struct server *s)
{
    for (int i = 0; i < 20; i++)
        (void)event_base_loop(s->base, EVLOOP_NONBLOCK);
}

// What has arrived at `fd` after the server ran; "" and *is_end when it was hung up on.
static const char *received(struct server *s, int fd, bool *is_end)
{
    static char text[512];
    ssize_t got;

    run(s);
    got = recv(fd, text, sizeof(text) - 1, 0);
    *is_end = got == 0;
    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void each_line_is_answered_in_turn(void **state)
{
    struct server *s = *state;
    const int fd = connect_to(s);
    bool is_end;

    assert_int_equal(send(fd, "one\ntwo a b\n\nthr", 16, 0), 16);
    assert_string_equal(received(s, fd, &is_end),
                        "one/1\ntwo/3\n{\"ok\":false,\"error\":\"not a command\"}\n");
    assert_int_equal(send(fd, "ee\n", 3, 0), 3);
    assert_string_equal(received(s, fd, &is_end), "three/1\n");
    assert_int_equal(s->commands, 4);
    (void)close(fd);
}

static void the_next_line_waits_for_the_answer_of_the_one_before(void **state)
{
    struct server *s = *state;
    const int fd = connect_to(s);
    bool is_end;

    assert_int_equal(send(fd, "wait\nnext\n", 10, 0), 10);
    assert_string_equal(received(s, fd, &is_end), "");
    assert_false(is_end);
    pqb_control_answer(s->waiting, "late");
    s->waiting = NULL;
    assert_string_equal(received(s, fd, &is_end), "late\nnext/1\n");
    (void)close(fd);
}

static void a_peer_that_says_no_more_still_gets_its_answer(void **state)
{
    struct server *s = *state;
    const int fd = connect_to(s);
    bool is_end;

    assert_int_equal(send(fd, "wait\n", 5, 0), 5);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_string_equal(received(s, fd, &is_end), "");
    pqb_control_answer(s->waiting, "late");
    s->waiting = NULL;
    assert_string_equal(received(s, fd, &is_end), "late\n");
    (void)received(s, fd, &is_end);
    assert_true(is_end);
    (void)close(fd);
}

static void the_owner_hears_of_a_peer_that_goes_with_a_command_open(void **state)
{
    struct server *s = *state;
    const int fd = connect_to(s);
    bool is_end;

    assert_int_equal(send(fd, "wait\n", 5, 0), 5);
    (void)received(s, fd, &is_end);
    assert_non_null(s->waiting);
    pqb_control_destroy(s->control);
    s->control = NULL;
    assert_int_equal(s->gone, 1);
    (void)close(fd);
}

static void peers_beyond_the_bound_are_hung_up_on_and_counted(void **state)
{
    struct server *s = *state;
    int fds[PQB_CONTROL_PEERS_MAX + 1];
    bool is_end;

    for (size_t i = 0; i < PQB_ARRAY_LEN(fds); i++) {
        fds[i] = connect_to(s);
        run(s);
    }
    (void)received(s, fds[PQB_CONTROL_PEERS_MAX], &is_end);
    assert_true(is_end);
    assert_int_equal(s->refused, 1);
    (void)close(fds[0]);
    run(s);
    (void)close(fds[PQB_CONTROL_PEERS_MAX]);
    fds[0] = connect_to(s);
    assert_int_equal(send(fds[0], "one\n", 4, 0), 4);
    assert_string_equal(received(s, fds[0], &is_end), "one/1\n");
    for (size_t i = 0; i < PQB_CONTROL_PEERS_MAX; i++)
        (void)close(fds[i]);
}

static void a_line_without_end_is_hung_up_on(void **state)
{
    struct server *s = *state;
    const int fd = connect_to(s);
    char line[PQB_CONTROL_LINE_MAX + 1];

    memset(line, 'x', sizeof(line));
    assert_int_equal(send(fd, line, sizeof(line), 0), sizeof(line));
    run(s);
    assert_int_equal(recv(fd, line, 1, 0), 0);
    (void)close(fd);
}

static void a_socket_that_is_alive_is_not_taken_over(void **state)
{
    struct server *s = *state;
    const struct pqb_control_handler handler = {.commands = &s->commands, .refused = &s->refused};
    struct pqb_control *second = NULL;
    struct stat st;

    assert_int_equal(pqb_control_create(&second, s->base, s->path, &handler), PQB_ERR_EXISTS);
    assert_int_equal(stat(s->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

// --------------------------------------------------------------------------------------- chain

#define SHARDS 3

struct tour {
    struct pqb_chain chain;
    unsigned visits, done;
};

static void visit(struct pqb_chain *chain, struct pqb_shard *shard, struct pqb_engine *engine,
                  pqb_tstamp now)
{
    struct tour *tour = chain->ctx;

    (void)shard;
    (void)engine;
    assert_int_equal(now, 7);
    tour->visits++;
}

static void done(struct pqb_chain *chain)
{
    struct tour *tour = chain->ctx;

    tour->done++;
}

// Does what a shard does with a letter. false: its box is empty.
static bool play_shard(struct pqb_mailbox *box)
{
    struct pqb_letter *letter = pqb_mailbox_take(box);
    struct pqb_call *call;

    if (letter == NULL)
        return false;
    assert_int_equal(letter->type, PQB_LETTER_CALL);
    call = PQB_CONTAINER_OF(letter, struct pqb_call, letter);
    call->run(call, NULL, NULL, 7);
    assert_true(pqb_mailbox_post(call->reply, call));
    return true;
}

static void a_chain_visits_each_shard_once_and_comes_home(void **state)
{
    struct pqb_mailbox boxes[SHARDS], home;
    struct tour tour = {.chain = {.visit = visit, .done = done, .ctx = &tour}};

    (void)state;
    assert_int_equal(pqb_mailbox_init(&home, 4), PQB_OK);
    for (size_t i = 0; i < SHARDS; i++)
        assert_int_equal(pqb_mailbox_init(&boxes[i], 2), PQB_OK);
    pqb_chain_start(&tour.chain, boxes, 0, SHARDS, &home);
    for (size_t i = 0; i < SHARDS; i++) {
        assert_int_equal(tour.done, 0);
        for (size_t k = 0; k < SHARDS; k++)
            assert_int_equal(play_shard(&boxes[k]), k == i);
        pqb_chain_on_reply(pqb_mailbox_take(&home));
    }
    assert_int_equal(tour.visits, SHARDS);
    assert_int_equal(tour.done, 1);
    assert_false(tour.chain.is_failed);
    pqb_chain_start(&tour.chain, boxes, 1, 1, &home); // nowhere to go
    assert_int_equal(tour.done, 2);
    for (size_t i = 0; i < SHARDS; i++)
        pqb_mailbox_fini(&boxes[i]);
    pqb_mailbox_fini(&home);
}

static void a_chain_that_meets_a_full_mailbox_ends_failed(void **state)
{
    struct pqb_mailbox boxes[2], home;
    struct tour tour = {.chain = {.visit = visit, .done = done, .ctx = &tour}};
    int letter;

    (void)state;
    assert_int_equal(pqb_mailbox_init(&home, 4), PQB_OK);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pqb_mailbox_init(&boxes[i], 2), PQB_OK);
    while (pqb_mailbox_post(&boxes[1], &letter))
        continue;
    pqb_chain_start(&tour.chain, boxes, 0, 2, &home);
    assert_true(play_shard(&boxes[0]));
    pqb_chain_on_reply(pqb_mailbox_take(&home));
    assert_int_equal(tour.visits, 1);
    assert_int_equal(tour.done, 1);
    assert_true(tour.chain.is_failed);
    while (pqb_mailbox_take(&boxes[1]) != NULL)
        continue;
    for (size_t i = 0; i < 2; i++)
        pqb_mailbox_fini(&boxes[i]);
    pqb_mailbox_fini(&home);
}

int main(void)
{
#define SERVED(f) cmocka_unit_test_setup_teardown(f, make_server, drop_server)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_split_at_spaces_and_unescaped),
        cmocka_unit_test(lines_that_are_not_commands_have_no_words),
        SERVED(each_line_is_answered_in_turn),
        SERVED(the_next_line_waits_for_the_answer_of_the_one_before),
        SERVED(a_peer_that_says_no_more_still_gets_its_answer),
        SERVED(the_owner_hears_of_a_peer_that_goes_with_a_command_open),
        SERVED(peers_beyond_the_bound_are_hung_up_on_and_counted),
        SERVED(a_line_without_end_is_hung_up_on),
        SERVED(a_socket_that_is_alive_is_not_taken_over),
        cmocka_unit_test(a_chain_visits_each_shard_once_and_comes_home),
        cmocka_unit_test(a_chain_that_meets_a_full_mailbox_ends_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
