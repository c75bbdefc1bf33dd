// key-compromise: the gateway's secret key was stolen. In Noise IK its owner can write a first
// message in the name of any client whose public key he knows (key-compromise impersonation), but
// he reads no answer to it: that takes the client's secret, and so does the first DATA. Nothing may
// come of it.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/proto/server_keys.h"
#include "common/wire/frame.h"
#include "gateway/io/stats_page.h"
#include "tools/cli/cli.h"
#include "tools/pqbsim/inject_device.h"

#define OWN_NAMES     16
#define OWN_PAUSE_NS  (200 * PQB_NS_PER_MS)
#define IK_NAME       "Noise_IK_25519_ChaChaPoly_SHA256"
#define CONFIRM_EVERY 4 // datagrams for each answer that came

enum compromise_kind {
    FORGED,
    CONFIRM,
    OWN_KEY,
};

static const struct inject_kind compromise_kinds[] = {
    [FORGED] = {"forged-login", 1.0},
    [CONFIRM] = {"confirm-blindly", 1.0},
    [OWN_KEY] = {"own-device-key", 0}, // who lets anybody in lets him in, too, by his own name
};

// The last login that was forged, for its answer.
static struct {
    struct pqb_noise_symmetric symmetric; // behind the first message
    struct pqb_noise_keypair e;
    uint32_t index;              // of the victim
    uint8_t victim[PQB_KEY_LEN]; // public
    uint64_t init_id;
} forged;

static struct inject_device own;
static uint32_t own_names;
static pqb_tstamp own_at;
static uint64_t answers, opened, control_failed, to_confirm;
static uint8_t confirm_key[PQB_KEY_LEN]; // wrong
static uint64_t confirm_cid;             // right

int inject_compromise_load(struct inject *in)
{
    struct pqb_noise_keypair pair;
    char line[128] = "", what[512];
    FILE *file;

    if (in->server_secret_path == NULL)
        return cli_wrong("pqbsim inject", "--server-secret is needed",
                         "It names the stolen key: server.key in the gateway's data directory.");
    file = fopen(in->server_secret_path, "re");
    (void)snprintf(what, sizeof(what), "cannot read %.400s: %s", in->server_secret_path,
                   strerror(errno));
    if (file == NULL)
        return cli_wrong("pqbsim inject", what, "");
    if (fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
    if (pqb_aead_init() != PQB_OK ||
        pqb_hex_decode(line, strcspn(line, " \r\n"), in->server_secret, PQB_KEY_LEN) != PQB_OK)
        return cli_wrong("pqbsim inject", "the first line of --server-secret is no key",
                         "It has 64 hexadecimal digits.");
    memcpy(pair.secret, in->server_secret, PQB_KEY_LEN);
    pqb_noise_keypair_complete(&pair);
    if (memcmp(pair.public, in->server_key, PQB_KEY_LEN) != 0)
        return cli_wrong("pqbsim inject", "--server-secret does not belong to --server-key", "");
    return CLI_EXIT_DONE;
}

static bool mix_exchange(struct pqb_noise_symmetric *s, const uint8_t *secret,
                         const uint8_t *public)
{
    uint8_t shared[PQB_KEY_LEN];

    if (crypto_scalarmult(shared, secret, public) != 0)
        return false;
    pqb_noise_mix_key(s, shared, sizeof(shared));
    return true;
}

// The handshake's first message as the victim's, `ss` from the wrong side: DH(gateway, victim).
static void write_forgery(struct inject *in, const uint8_t *hello, const uint8_t *payload,
                          uint8_t *message)
{
    struct pqb_noise_symmetric *s = &forged.symmetric;
    uint8_t prologue[PQB_PROLOGUE_MAX];
    uint8_t *at = message;

    pqb_noise_symmetric_init(s, IK_NAME);
    pqb_noise_mix_hash(s, prologue, pqb_prologue_make(hello, NULL, prologue));
    pqb_noise_mix_hash(s, in->gateway.public, PQB_KEY_LEN);
    memcpy(at, forged.e.public, PQB_KEY_LEN);
    pqb_noise_mix_hash(s, at, PQB_KEY_LEN);
    at += PQB_KEY_LEN;
    PQB_ASSERT(mix_exchange(s, forged.e.secret, in->gateway.public));
    at += pqb_noise_encrypt(s, forged.victim, PQB_KEY_LEN, at);
    PQB_ASSERT(mix_exchange(s, in->server_secret, forged.victim));
    at += pqb_noise_encrypt(s, payload, SEALED_PAYLOAD_LEN, at);
    PQB_ASSERT((size_t)(at - message) == SEALED_PAYLOAD_LEN + PQB_NOISE_IK_OVERHEAD);
}

static size_t make_forgery(struct inject *in, uint8_t *out)
{
    const uint32_t victim = (uint32_t)pqb_rng_below(&in->rng, INJECT_CLIENTS);
    struct pqb_hello hello = {.type = PQB_DATAGRAM_INIT, .ciphers = in->gateway.ciphers};
    struct pqb_init init = {.device = {"sim", 3}};
    uint8_t payload[SEALED_PAYLOAD_LEN], *message;
    char user[FLEET_NAME_MAX];

    forged.index = victim;
    init.user = (struct pqb_text){user, fleet_user_name(&in->fleet, victim, user)};
    PQB_ASSERT(pqb_client_device_public(in->fleet.clients[victim].device_key, forged.victim) ==
               PQB_CLIENT_OK);
    forged.init_id = hello.init_id = pqb_rng_next(&in->rng) | 1;
    pqb_rng_fill(&in->rng, forged.e.secret, PQB_KEY_LEN);
    pqb_noise_keypair_complete(&forged.e);
    message = pqb_hello_begin(&hello, out);
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &init, payload, sizeof(payload));
    write_forgery(in, out, payload, message);
    sealed_mac1(&in->gateway, out);
    return PQB_INIT_LEN;
}

// Data in plaintext, or under keys that would be right had the attacker guessed the last exchange.
// Its connection id is the right one, though only the answer tells it, which he cannot read: let
// him have guessed so much.
static size_t make_confirmation(struct inject *in, uint8_t *out)
{
    struct sealed s = {.cipher = PQB_CIPHER_CHACHAPOLY};
    const struct pqb_data header = {.cid = confirm_cid, .pn = 1};

    if (to_confirm == 0)
        return 0;
    to_confirm--;
    pqb_packet_keys_init(&s.keys, confirm_key, confirm_key, 0);
    if (to_confirm % 2 == 0)
        s.cipher = PQB_CIPHER_NONE;
    return sealed_data(&s, &header, out, inject_make_ping(header.cid, 1, in->turn, out));
}

static size_t make_own(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    char user[16];

    if (own.init_id == 0 || (inject_device_is_ready(&own) && now >= own_at)) {
        const uint32_t logins = own.logins;

        (void)snprintf(user, sizeof(user), "thief%u", own_names++ % OWN_NAMES);
        inject_device_init(in, &own, user, false, pqb_rng_next(&in->rng) | 1);
        own.logins = logins;
        own_at = pqb_tstamp_add(now, OWN_PAUSE_NS);
    }
    return inject_device_is_ready(&own) ? 0 : inject_device_log_in(&own, out, now);
}

static size_t make_compromise(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    if (kind == OWN_KEY)
        return make_own(in, out, now);
    return kind == FORGED ? make_forgery(in, out) : make_confirmation(in, out);
}

// Whether `secret` is what the answer's last exchange needs; if so, `plain` is the preview, else
// the keys that it would give are kept.
static bool open_with(const uint8_t *secret, const uint8_t *message, size_t len, uint8_t *plain)
{
    struct pqb_noise_symmetric s = forged.symmetric;
    uint8_t from_responder[PQB_KEY_LEN];

    pqb_noise_mix_hash(&s, message, PQB_KEY_LEN);
    if (!mix_exchange(&s, forged.e.secret, message) || !mix_exchange(&s, secret, message))
        return false;
    if (pqb_noise_decrypt(&s, message + PQB_KEY_LEN, len - PQB_KEY_LEN, plain))
        return true;
    pqb_noise_split(&s, confirm_key, from_responder);
    return false;
}

// The answer needs DH(victim's secret, gateway's ephemeral): what else could stand there? That the
// victim's secret does open it shows that the forgery was sound.
static void try_to_open(struct inject *in, const uint8_t *message, size_t len)
{
    const uint8_t *guesses[] = {in->server_secret, forged.e.secret, in->gateway.device.secret};
    const uint8_t *control = in->fleet.clients[forged.index].device_key;
    uint8_t plain[PQB_DATAGRAM_MAX];
    struct pqb_resp resp;

    for (size_t i = 0; i < PQB_ARRAY_LEN(guesses); i++)
        opened += open_with(guesses[i], message, len, plain);
    if (!open_with(control, message, len, plain) ||
        pqb_answer_payload_decode(in->unpacker, plain, len - PQB_KEY_LEN - PQB_TAG_LEN, &resp) !=
            PQB_VERDICT_OK) {
        control_failed++;
        return;
    }
    confirm_cid = resp.cid;
    to_confirm = CONFIRM_EVERY;
}

static void on_compromise_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;
    const uint8_t *message;
    size_t message_len;
    uint64_t init_id;

    if (kind == OWN_KEY) {
        inject_device_on_answer(in, &own, data, len, NULL, NULL);
        return;
    }
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK || type == PQB_DATAGRAM_DATA) {
        in->misdirected++;
        return;
    }
    if (kind != FORGED || type != PQB_DATAGRAM_RESP ||
        pqb_answer_decode(data, len, &init_id, &message, &message_len) != PQB_VERDICT_OK)
        return;
    answers++;
    if (init_id == forged.init_id && message_len > PQB_KEY_LEN + PQB_TAG_LEN)
        try_to_open(in, message, message_len);
}

static void judge_compromise(struct inject *in, const struct pqb_stats_snapshot *from,
                             const struct pqb_stats_snapshot *to)
{
    inject_check(in, "compromise.sessions",
                 PQB_MAX(0.0, inject_sessions_of_others(in, from, to) - own.logins), 0);
    inject_check(in, "compromise.answers_read", (double)opened, 0);
    inject_check(in, "compromise.control_failed", (double)control_failed, 0);
    inject_check(in, "compromise.confirmations_not_counted",
                 PQB_MAX(0.0, (double)in->counts[CONFIRM].sent -
                                  inject_grown(from, to, "drop.forged") -
                                  inject_grown(from, to, "udp.kernel_drops") -
                                  inject_grown(from, to, "mail.dropped")),
                 0);
    inject_check(in, "compromise.session_data", (double)in->misdirected, 0);
    inject_check(in, "compromise.messages", inject_messages_of_others(in, from, to), 0);
    // Without an answer there was no attack.
    inject_check(in, "compromise.not_answered", in->counts[FORGED].sent > 0 && answers == 0, 0);
    inject_note(in, "compromise.answers", (double)answers);
    inject_note(in, "compromise.own_sessions", own.logins);
}

const struct inject_scenario inject_key_compromise = {
    .name = "key-compromise",
    .help = "logins in the names of legitimate users by who has stolen the gateway's secret key "
            "(--server-secret)",
    .limit =
        "no answer is read, no session opens, ends or moves but under the attacker's own names "
        "(needs --stats); 1.0 bytes out per byte in",
    .kinds = compromise_kinds,
    .kind_count = PQB_ARRAY_LEN(compromise_kinds),
    .sources = 1,
    .rate = 600,
    .make = make_compromise,
    .on_answer = on_compromise_answer,
    .judge = judge_compromise,
    .needs_noise = true,
    .is_still = true,
    .memory_max = inject_memory_logins,
};
