// Devices of the attacker that log in like anybody else and then say what they like.
//
// A device has a session and, if it sends, an epoch. A flow is a device that sends in order within
// its window and repeats what is not answered, as a client should: floods are made of those.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/frame.h"
#include "tools/pqbsim/inject.h"

struct inject_device {
    char user[24];
    uint64_t init_id;          // also tells devices of one source apart
    uint64_t cid, pn, echo_pn; // cid 0: not answered yet
    uint64_t cursor;           // told by RESP, then the owner's
    uint32_t logins;
    uint32_t epoch; // 0: none yet
    uint64_t low;   // for logins; the owner's
    pqb_tstamp asked_at;
    bool is_sender; // needs an epoch
    bool is_heard;  // the gateway has said something in this session
    bool has_cookie;
    uint8_t cookie[PQB_COOKIE_LEN];
    struct sealed_gateway *gateway;
    struct sealed sealed;
};

// `init_id` is unique among the devices and not 0.
void inject_device_init(struct inject *in, struct inject_device *d, const char *user,
                        bool is_sender, uint64_t init_id);
bool inject_device_is_ready(const struct inject_device *d);

// What a device that is not ready has to say now; 0: nothing, an answer is awaited.
size_t inject_device_log_in(struct inject_device *d, uint8_t *out, pqb_tstamp now);

// Appends a frame to a datagram of `used` bytes (0: an empty one). Returns the new length, or
// `used` if it does not fit.
size_t inject_device_put(const struct pqb_frame *f, uint8_t *out, size_t used);
// Numbers and seals a datagram that is ready to go; returns its length.
size_t inject_device_stamp(struct inject_device *d, uint8_t *out, size_t used);

typedef void (*inject_frame_fn)(void *ctx, const struct pqb_frame *f);

// A datagram for this device came; frames of its session go to `on_frame`, which may be
// NULL.
void inject_device_on_answer(struct inject *in, struct inject_device *d, const uint8_t *data,
                             size_t len, inject_frame_fn on_frame, void *ctx);

// A flow's messages are a function of their seq, so that repeats are the same.
struct inject_flow {
    struct inject_device device;
    uint64_t next;                      // seq
    pqb_tstamp sent_at[PQB_SEQ_WINDOW]; // by seq; 0: answered for good
    uint64_t accepted, refused, quota;  // seqs; quota: of those refused
};

void inject_flow_init(struct inject *in, struct inject_flow *f, const char *user, uint64_t init_id);
// A seq to send now, new or to be repeated; 0: the window is full.
uint64_t inject_flow_take(struct inject_flow *f, pqb_tstamp now);
// True: `frame` resolved a seq, which is put into *seq; accepted or refused.
bool inject_flow_on_frame(struct inject_flow *f, const struct pqb_frame *frame, uint64_t *seq,
                          bool *is_accepted);
