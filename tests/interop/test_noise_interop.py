#!/usr/bin/env python3
"""Speaks the handshakes and what follows them with another implementation, each side as each role.

usage: test_noise_interop.py NOISE_PEER

The handshakes and ChaChaPoly are dissononce's, AESGCM and its REKEY are made here of Python's
cryptography. Keys, prologues and payloads are new in each run.
"""
import os
import subprocess
import sys

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from dissononce.cipher.chachapoly import ChaChaPolyCipher
    from dissononce.dh.x25519.x25519 import X25519DH
    from dissononce.exceptions.decrypt import DecryptFailedException
    from dissononce.hash.sha256 import SHA256Hash
    from dissononce.processing.handshakepatterns.interactive.IK import IKHandshakePattern
    from dissononce.processing.handshakepatterns.interactive.NN import NNHandshakePattern
    from dissononce.processing.impl.cipherstate import CipherState
    from dissononce.processing.impl.handshakestate import HandshakeState
    from dissononce.processing.impl.symmetricstate import SymmetricState
    from dissononce.processing.modifiers.psk import PSKPatternModifier
except ImportError as error:
    sys.exit(f'test_noise_interop: {error}; run tools/setup, which installs it')

LENGTHS = [0, 1, 100, 1000]
NUMBERS = [0, 1, 255, 256, 2**32 + 5, 2**63, 2**64 - 2]
LAST_NUMBER = 2**64 - 1
TAG_LEN = 16
PATTERNS = {'IK': IKHandshakePattern(), 'NNpsk0': PSKPatternModifier(0).modify(NNHandshakePattern())}

done = {}  # what was compared -> how often


def count(what):
    done[what] = done.get(what, 0) + 1


def fail(why):
    """Ends the test; all that the C module was told is said with it, to be tried again."""
    peer = Peer.latest
    sys.exit('\n'.join([f'test_noise_interop: {why}', 'Again: ' + ' '.join(peer.command) + ' <<END',
                        *peer.told, 'END']))


def same(ours, theirs, what):
    if ours != theirs:
        fail(f'{what}: ours {ours!r}, theirs {theirs!r}')
    count(what)


def flipped(message):
    """The message with one bit of it flipped, anywhere."""
    at = int.from_bytes(os.urandom(4), 'big') % (8 * len(message))
    out = bytearray(message)
    out[at // 8] ^= 1 << at % 8
    return bytes(out)


class Peer:
    """The C module, in a process of its own."""

    latest = None

    def __init__(self, *args):
        Peer.latest = self
        self.command = [sys.argv[1], *(self.word(a) for a in args)]
        self.told = []
        self.process = subprocess.Popen(self.command, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    @staticmethod
    def word(arg):
        if isinstance(arg, int):
            return f'{arg:x}'
        return arg if isinstance(arg, str) else arg.hex() or '-'

    def ask(self, *words):
        """The answer's bytes; None if it was refused; True and False of "ok" and "lacking"."""
        self.told.append(' '.join(self.word(w) for w in words))
        self.process.stdin.write(self.told[-1] + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            fail(f'noise_peer has no answer to {words[0]}')
        if answer in ('ok', 'lacking', 'refused'):
            return {'ok': True, 'lacking': False, 'refused': None}[answer]
        return b'' if answer == '-' else bytes.fromhex(answer)

    def end(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            fail(f'noise_peer ended with {self.process.returncode}')


class Keys:
    """Of one handshake."""

    def __init__(self):
        self.initiator, self.responder = (X25519DH().generate_keypair() for _ in range(2))
        self.psk = os.urandom(32)
        self.prologue = os.urandom(os.urandom(1)[0] % 100)


def begin_theirs(pattern, is_initiator, keys):
    theirs = HandshakeState(SymmetricState(CipherState(ChaChaPolyCipher()), SHA256Hash()), X25519DH())
    if pattern == 'IK':
        theirs.initialize(PATTERNS[pattern], is_initiator, keys.prologue,
                          s=keys.initiator if is_initiator else keys.responder,
                          rs=keys.responder.public if is_initiator else None)
    else:
        theirs.initialize(PATTERNS[pattern], is_initiator, keys.prologue, psks=[keys.psk])
    return theirs


def begin_ours(pattern, is_initiator, keys):
    role = 'initiator' if is_initiator else 'responder'
    if pattern == 'NNpsk0':
        return Peer(role, pattern, keys.psk, keys.prologue)
    if is_initiator:
        return Peer(role, pattern, keys.initiator.private.data, keys.responder.public.data,
                    keys.prologue)
    return Peer(role, pattern, keys.responder.private.data, keys.prologue)


def we_write(ours, theirs, payload, what):
    message = ours.ask('write', os.urandom(32), payload)
    read = bytearray()
    states = theirs.read_message(message, read)
    same(payload, bytes(read), what)
    return states


def they_write(ours, theirs, payload, what):
    message = bytearray()
    states = theirs.write_message(payload, message)
    same(ours.ask('read', bytes(message)), payload, what)
    return states


def shake_hands(pattern, are_we_initiator, lens):
    """Our side, and their cipher states: what they send with, what they receive with."""
    keys = Keys()
    ours = begin_ours(pattern, are_we_initiator, keys)
    theirs = begin_theirs(pattern, not are_we_initiator, keys)
    first, answer = (os.urandom(n) for n in lens)
    what = f'{pattern} messages, C as ' + ('initiator' if are_we_initiator else 'responder')
    if are_we_initiator:
        we_write(ours, theirs, first, what)
        from_initiator, from_responder = they_write(ours, theirs, answer, what)
        return ours, from_responder, from_initiator
    they_write(ours, theirs, first, what)
    if os.urandom(1)[0] % 2:
        ours.ask('hand-over')
    from_initiator, from_responder = we_write(ours, theirs, answer, what)
    return ours, from_initiator, from_responder


def refuse_forged(pattern):
    """A bit flipped on the way is refused on both sides, in either message."""
    for are_we_initiator in (True, False):
        keys = Keys()
        ours = begin_ours(pattern, are_we_initiator, keys)
        theirs = begin_theirs(pattern, not are_we_initiator, keys)
        if are_we_initiator:
            message = ours.ask('write', os.urandom(32), b'first')
            try:
                theirs.read_message(flipped(message), bytearray())
                fail(f'dissononce read a forged {pattern} message')
            except (DecryptFailedException, ValueError):
                count('forged messages refused')
            theirs = begin_theirs(pattern, False, keys)
            theirs.read_message(message, bytearray())
        message = bytearray()
        theirs.write_message(b'a payload', message)
        same(ours.ask('read', flipped(message)), None, 'forged messages refused')
        ours.end()


def rekey(state):
    """What CipherState.rekey() should do: it forgets to cut the tag off. The key is in _key."""
    # pylint: disable=protected-access
    state.initialize_key(state.cipher.rekey(state._key)[:32])


def talk_chachapoly(ours, sending, receiving):
    """Both directions, dissononce's cipher states counting the numbers, twice with REKEY between."""
    ours.ask('finish', 'ChaChaPoly')
    for is_rekeyed in (False, True):
        what = 'ChaChaPoly messages' + (' after REKEY' if is_rekeyed else '')
        if is_rekeyed:
            same(ours.ask('rekey'), True, 'REKEYs')
            rekey(sending)
            rekey(receiving)
        for number, length in enumerate(LENGTHS):
            text, ad = os.urandom(length), os.urandom(number)
            same(ours.ask('open', number, ad, sending.encrypt_with_ad(ad, text)), text, what)
            same(receiving.decrypt_with_ad(ad, ours.ask('seal', number, ad, text)), text, what)
        for number in NUMBERS:
            sending.set_nonce(number)
            receiving.set_nonce(number)
            text = os.urandom(30)
            sealed = sending.encrypt_with_ad(b'ad', text)
            same(ours.ask('open', number, b'ad', flipped(sealed)), None, 'forged messages refused')
            same(ours.ask('open', number, b'ad', sealed), text, what)
            same(receiving.decrypt_with_ad(b'ad', ours.ask('seal', number, b'ad', text)), text, what)
    ours.end()


class Aes:
    """AESGCM as the Noise specification has it: four zero bytes and the number, big-endian."""

    def __init__(self, key):
        self.key = key

    @staticmethod
    def nonce(number):
        return bytes(4) + number.to_bytes(8, 'big')

    def seal(self, number, ad, text):
        return AESGCM(self.key).encrypt(self.nonce(number), text, ad)

    def open(self, number, ad, sealed):
        try:
            return AESGCM(self.key).decrypt(self.nonce(number), sealed, ad)
        except InvalidTag:
            return None

    def rekey(self):
        self.key = self.seal(LAST_NUMBER, b'', bytes(32))[:32]


def talk_aesgcm(ours, sending, receiving):
    """The handshake's keys under the other cipher; dissononce keeps them in _key."""
    # pylint: disable=protected-access
    sending, receiving = Aes(sending._key), Aes(receiving._key)
    if ours.ask('finish', 'AESGCM') is False:
        print('no AES in this processor: AESGCM not tried')
        ours.end()
        return
    for is_rekeyed in (False, True):
        what = 'AESGCM messages' + (' after REKEY' if is_rekeyed else '')
        if is_rekeyed:
            same(ours.ask('rekey'), True, 'REKEYs')
            sending.rekey()
            receiving.rekey()
        for number in NUMBERS:
            for length in LENGTHS:
                text, ad = os.urandom(length), os.urandom(length // 10)
                sealed = sending.seal(number, ad, text)
                same(ours.ask('open', number, ad, flipped(sealed)), None, 'forged messages refused')
                same(ours.ask('open', number, ad, sealed), text, what)
                same(ours.ask('seal', number, ad, text), receiving.seal(number, ad, text), what)
    ours.end()


def main():
    for pattern in PATTERNS:
        for are_we_initiator in (True, False):
            for lens in {*zip(LENGTHS, LENGTHS), *zip(LENGTHS, reversed(LENGTHS))}:
                talk_chachapoly(*shake_hands(pattern, are_we_initiator, lens))
            talk_aesgcm(*shake_hands(pattern, are_we_initiator, (1, 1)))
        refuse_forged(pattern)
    for what, times in done.items():
        print(f'{times:5} {what}')


if __name__ == '__main__':
    main()
