"""Logs in and sends one message: written from PROTOCOL.md alone, standard library only."""
import os, socket, struct, sys  # noqa: E401  (usage: minimal_client.py HOST PORT USER TO TEXT)

def pack(v):  # msgpack, the few types that are needed
    if isinstance(v, int): return b"\xcf" + struct.pack(">Q", v)
    if isinstance(v, bytes): return b"\xc5" + struct.pack(">H", len(v)) + v
    if isinstance(v, str): return b"\xda" + struct.pack(">H", len(v.encode())) + v.encode()
    return bytes([0x90 | len(v)]) + b"".join(map(pack, v))

def uint(b):  # the msgpack unsigned integer that b begins with
    return b[0] if b[0] < 0x80 else int.from_bytes(b[1:1 + (1 << b[0] - 0xcc)], "big")

host, port, user, to, text = sys.argv[1:]
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.connect((host, int(port))); peer.settimeout(5)
init_id, pn = os.urandom(8), 0
login = pack([user, "script", "", 0, 1, 0])  # user, device, token, epoch, low, cursor
peer.send((b"\x11\0\0\0" + init_id + b"\0" + struct.pack(">H", len(login)) + login).ljust(1200, b"\0"))
resp = peer.recv(1200)
assert resp[0] == 0x13 and resp[4:12] == init_id, resp
cid = uint(resp[15:])  # behind the array's header comes the connection id

def ask(kind, fields, answer):  # one frame in one DATA; waits for the answering frame's content
    global pn; pn += 1; body = pack(fields)
    peer.send(b"\x16" + struct.pack(">QQIH", cid, pn, 0, 0) + struct.pack(">BH", kind, len(body)) + body)
    while True:
        frames = peer.recv(1200)[23:]
        while frames:
            code, size = struct.unpack(">BH", frames[:3])
            if code == answer: return frames[3:3 + size]
            frames = frames[3 + size:]

ask(0x20, [os.urandom(16)], 0x21)  # epoch:R, epoch:A
content = ask(0x10, [1, 1, 0, 0, 0, to, text.encode()], 0x11)  # msg:R, msg:A
print("accepted seq", uint(content[1:]), "state", content[2])
