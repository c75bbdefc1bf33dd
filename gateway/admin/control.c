#include "gateway/admin/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/log.h"

struct pqb_control_peer {
    struct pqb_control *control;
    struct bufferevent *bev; // NULL: the place is free
    bool is_busy;            // a command is not answered yet
    bool is_eof;             // it says no more; it goes once it has its answers
};

struct pqb_control {
    struct event_base *base;
    struct pqb_control_handler handler;
    struct event *accepting;
    int fd;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    struct pqb_control_peer peers[PQB_CONTROL_PEERS_MAX];
};

// --------------------------------------------------------------------------------------- words

static bool unescape(char *word)
{
    char *out = word;

    for (; *word != '\0'; word++) {
        if (*word != '%') {
            *out++ = *word;
            continue;
        }
        const int high = pqb_hex_digit(word[1]);
        const int low = high >= 0 ? pqb_hex_digit(word[2]) : -1;

        if (low < 0 || (high == 0 && low == 0))
            return false;
        *out++ = (char)(high * 16 + low);
        word += 2;
    }
    *out = '\0';
    return true;
}

size_t pqb_control_split(char *line, char **words, size_t words_max)
{
    size_t count = 0;
    char *word;

    while ((word = strsep(&line, " ")) != NULL) {
        if (count == words_max || word[0] == '\0' || !unescape(word))
            return 0;
        words[count++] = word;
    }
    return count;
}

// --------------------------------------------------------------------------------------- peers

static void drop(struct pqb_control_peer *peer)
{
    if (peer->is_busy)
        peer->control->handler.on_gone(peer->control->handler.ctx, peer);
    bufferevent_free(peer->bev); // closes the socket
    peer->bev = NULL;
    peer->is_busy = false;
}

static void take_line(struct pqb_control_peer *peer, char *line)
{
    const struct pqb_control_handler *handler = &peer->control->handler;
    char *words[PQB_CONTROL_WORDS_MAX];
    const size_t count = pqb_control_split(line, words, PQB_CONTROL_WORDS_MAX);

    (*handler->commands)++;
    peer->is_busy = true;
    if (count == 0)
        pqb_control_answer(peer, "{\"ok\":false,\"error\":\"not a command\"}");
    else
        handler->on_command(handler->ctx, peer, words, count);
}

static void take_lines(struct pqb_control_peer *peer)
{
    while (peer->bev != NULL && !peer->is_busy) {
        struct evbuffer *in = bufferevent_get_input(peer->bev);
        char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_LF);

        if (line == NULL) {
            if (evbuffer_get_length(in) > PQB_CONTROL_LINE_MAX)
                drop(peer);
            return;
        }
        take_line(peer, line);
        free(line);
    }
}

static void on_input(struct bufferevent *bev, void *arg)
{
    (void)bev;
    take_lines(arg);
}

// Everything written has left. A peer that only half-closed (echo status | nc -U) is still there.
static void on_flushed(struct bufferevent *bev, void *arg)
{
    struct pqb_control_peer *peer = arg;

    (void)bev;
    take_lines(peer);
    if (peer->bev != NULL && peer->is_eof && !peer->is_busy)
        drop(peer);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct pqb_control_peer *peer = arg;

    if ((what & BEV_EVENT_ERROR) != 0) {
        drop(peer);
    } else if ((what & BEV_EVENT_EOF) != 0) {
        peer->is_eof = true;
        if (!peer->is_busy && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
            drop(peer);
    }
}

void pqb_control_answer(struct pqb_control_peer *peer, const char *line)
{
    PQB_ASSERT(peer->is_busy);
    peer->is_busy = false;
    (void)bufferevent_write(peer->bev, line, strlen(line));
    (void)bufferevent_write(peer->bev, "\n", 1);
    // The next line, if it is here already, is taken from the loop and not from inside the answer.
    bufferevent_trigger(peer->bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
}

// ------------------------------------------------------------------------------------- accept

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static struct pqb_control_peer *free_place(struct pqb_control *c)
{
    for (size_t i = 0; i < PQB_CONTROL_PEERS_MAX; i++) {
        if (c->peers[i].bev == NULL)
            return &c->peers[i];
    }
    return NULL;
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
    struct pqb_control *c = arg;
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct pqb_control_peer *peer = free_place(c);

    (void)what;
    if (fd < 0)
        return;
    if (peer == NULL || !is_allowed(fd)) {
        (*c->handler.refused)++;
        (void)close(fd);
        return;
    }
    peer->bev = bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (peer->bev == NULL) {
        (void)close(fd);
        return;
    }
    peer->control = c;
    peer->is_busy = false;
    peer->is_eof = false;
    bufferevent_setcb(peer->bev, on_input, on_flushed, on_event, peer);
    bufferevent_setwatermark(peer->bev, EV_READ, 0, (size_t)2 * PQB_CONTROL_LINE_MAX);
    (void)bufferevent_enable(peer->bev, EV_READ | EV_WRITE);
}

// ------------------------------------------------------------------------------------ lifetime

static int open_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

// A socket file outlives its process; only one that nobody answers on may be replaced.
static int remove_stale(const struct sockaddr_un *name)
{
    const int fd = open_unix();
    struct stat st;
    int connected;

    if (fd < 0)
        return PQB_ERR_IO;
    connected = connect(fd, (const struct sockaddr *)name, sizeof(*name));
    (void)close(fd);
    if (connected == 0)
        return PQB_ERR_EXISTS;
    if (lstat(name->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(name->sun_path);
    return PQB_OK;
}

static int listen_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd, saved, failed;
    mode_t mask;

    if (strlen(path) >= sizeof(name.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name.sun_path, path, strlen(path));
    if (remove_stale(&name) == PQB_ERR_EXISTS) {
        errno = EADDRINUSE;
        return -1;
    }
    fd = open_unix();
    if (fd < 0)
        return -1;
    mask = umask(0177);
    failed = bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, 8) != 0;
    saved = errno;
    (void)umask(mask);
    if (!failed)
        return fd;
    (void)close(fd);
    errno = saved;
    return -1;
}

int pqb_control_create(struct pqb_control **out, struct event_base *base, const char *path,
                       const struct pqb_control_handler *handler)
{
    struct pqb_control *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return PQB_ERR_NOMEM;
    c->base = base;
    c->handler = *handler;
    c->fd = listen_at(path);
    if (c->fd < 0) {
        const int saved = errno;

        free(c);
        errno = saved;
        return pqb_err_from_errno(saved);
    }
    (void)snprintf(c->path, sizeof(c->path), "%s", path);
    c->accepting = event_new(base, c->fd, EV_READ | EV_PERSIST, on_accept, c);
    if (c->accepting == NULL || event_add(c->accepting, NULL) != 0) {
        pqb_control_destroy(c);
        return PQB_ERR_NOMEM;
    }
    *out = c;
    return PQB_OK;
}

void pqb_control_destroy(struct pqb_control *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < PQB_CONTROL_PEERS_MAX; i++) {
        if (c->peers[i].bev != NULL)
            drop(&c->peers[i]);
    }
    if (c->accepting != NULL)
        event_free(c->accepting);
    (void)close(c->fd);
    (void)unlink(c->path);
    free(c);
}
