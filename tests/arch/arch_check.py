#!/usr/bin/env python3
"""Checks that the tree keeps the architecture that its folders promise.

usage: arch_check.py [--root DIR] CHECK [ARCHIVE...]

  includes   which folder may include which, and which library it may know
  purity     the given archives import no clock, socket, thread, randomness, libevent or LMDB
  headers    every header compiles alone
  format     clang-format has nothing to change
  words      no unfinished work is marked in the text

Prints one line a finding. Exit status: 0 clean, 1 findings, 2 wrong use.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# Most specific first: a file belongs to the first folder that its path begins with.
MODULES = [
    'common/base/', 'common/wire/', 'common/proto/', 'common/client/', 'storage/',
    'gateway/core/', 'gateway/config/', 'gateway/io/', 'gateway/admin/', 'gateway/', 'tools/',
    'tests/',
]
BASE, WIRE, PROTO, CLIENT, STORAGE = MODULES[:5]
CORE, CONFIG, IO, ADMIN, GATEWAY, TOOLS, TESTS = MODULES[5:]
STORE_INTERFACE = 'storage/store.h'

# Folder -> what it may include besides itself: folders, or single headers.
ARROWS = {
    BASE: [],
    WIRE: [BASE],
    PROTO: [BASE, WIRE],
    CLIENT: [BASE, WIRE, PROTO],
    STORAGE: [BASE, WIRE],
    CORE: [BASE, WIRE, PROTO, STORE_INTERFACE],
    CONFIG: [BASE],
    IO: [BASE, WIRE, PROTO, STORAGE, CORE, CONFIG],
    ADMIN: [BASE, WIRE, PROTO, STORAGE, CORE, CONFIG, IO],
    GATEWAY: [BASE, WIRE, PROTO, STORAGE, CORE, CONFIG, IO, ADMIN],
    TOOLS: MODULES,
    TESTS: MODULES,
}

# Library header -> the only folders that may include it.
LIBRARIES = [
    (re.compile(r'lmdb\.h$'), [STORAGE]),
    (re.compile(r'event2/|event\.h$'), [IO, ADMIN, TESTS]),
    (re.compile(r'msgpack(\.h$|/)'), [WIRE]),
    (re.compile(r'sodium(\.h$|/)'), [PROTO, IO, TOOLS, TESTS]),
]

IMPURE_SYMBOL = re.compile(
    r'^(clock_\w+|time|gettimeofday|timespec_get|nanosleep|usleep|sleep|s?rand|rand_r|s?random'
    r'|getrandom|getentropy|arc4random\w*|randombytes_\w+|socket|bind|connect|accept4?|listen'
    r'|send|sendto|sendm?msg|recv|recvfrom|recvm?msg|p?poll|p?select|epoll_\w+|eventfd'
    r'|pthread_\w+|thrd_\w+|mtx_\w+|event_\w+|evutil_\w+|mdb_\w+)$')
PURITY_EXCEPTIONS = ('client_udp',)  # the ready UDP driver beside the pure client

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
# Put together here, so that this file does not find itself.
FORBIDDEN_WORDS = re.compile(r'\b(' + '|'.join(['FIX' + 'ME', 'TO' + 'DO', 'X' * 3]) + r')\b')
PKG_CONFIG_NAMES = ['libevent_core', 'lmdb', 'msgpack', 'libsodium', 'cmocka']


def tree_files(root, suffixes=None):
    """Paths of the tree's files, relative to `root`, without build folders and hidden folders."""
    found = []
    for folder, folders, names in os.walk(root):
        at_top = os.path.samefile(folder, root)
        folders[:] = sorted(d for d in folders if not d.startswith('.') and d != '__pycache__'
                            and not (at_top and d.startswith('build')))
        for name in sorted(names):
            if suffixes is None or name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return found


def read_text(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as file:
        return file.read()


def module_of(path):
    return next((m for m in MODULES if path.startswith(m)), None)


def includes_of(root, path):
    """(is_quoted, name, line number) of each include in the file."""
    text = read_text(root, path)
    return [(m.group(1) == '"', m.group(2), text.count('\n', 0, m.start(2)) + 1)
            for m in INCLUDE.finditer(text)]


def headers_that_know_lmdb(root):
    """Headers of storage/ from which lmdb.h is reached, directly or through another."""
    wanted = {p: {name for _, name, _ in includes_of(root, p)}
              for p in tree_files(root, '.h') if module_of(p) == STORAGE}
    knowing = {p for p, names in wanted.items() if 'lmdb.h' in names}
    while True:
        more = {p for p, names in wanted.items() if names & knowing} - knowing
        if not more:
            return knowing
        knowing |= more


def is_reachable(module, target):
    """Whether the arrows let a file of `module` include the project's file `target`."""
    if module_of(target) == module:
        return True
    return any(target == a or (a.endswith('/') and module_of(target) == a)
               for a in ARROWS[module])


def quoted_fault(root, module, target, lmdb_headers):
    if not os.path.isfile(os.path.join(root, target)):
        return f'"{target}" is not a path from the top of the tree'
    if module_of(target) is None or not is_reachable(module, target):
        return f'{module} must not include "{target}"'
    if target in lmdb_headers and module != STORAGE:
        return f'"{target}" knows LMDB and is for {STORAGE} alone'
    return None


def library_fault(module, name):
    for pattern, allowed in LIBRARIES:
        if pattern.match(name) and module not in allowed:
            return f'<{name}> is for {" and ".join(allowed)} alone'
    return None


def check_includes(root, _archives):
    findings = []
    lmdb_headers = headers_that_know_lmdb(root)
    for path in tree_files(root, ('.c', '.h', '.def')):
        module = module_of(path)
        if module is None:
            findings.append(f'{path}: source outside the folders of the layout')
            continue
        for is_quoted, name, line in includes_of(root, path):
            fault = library_fault(module, name)
            if fault is None and is_quoted:
                fault = quoted_fault(root, module, name, lmdb_headers)
            if fault is not None:
                findings.append(f'{path}:{line}: {fault}')
    return findings


def check_purity(_root, archives):
    if not archives:
        return ['purity: name the archives to look into']
    findings = []
    for archive in archives:
        run = subprocess.run(['nm', '--undefined-only', '-P', '-A', archive],
                             capture_output=True, text=True, check=False)
        if run.returncode != 0:
            findings.append(f'{archive}: nm: {run.stderr.strip()}')
            continue
        for line in run.stdout.splitlines():
            where, symbol = line.rsplit(': ', 1)
            symbol = symbol.split()[0].split('@')[0]
            if IMPURE_SYMBOL.match(symbol) and not any(e in where for e in PURITY_EXCEPTIONS):
                findings.append(f'{where}: imports {symbol}')
    return findings


def compile_header(root, path, flags):
    command = [os.environ.get('CC', 'cc'), '-std=c17', '-D_GNU_SOURCE', '-Wall', '-Wextra',
               '-Werror', '-fsyntax-only', f'-I{root}', *flags, '-x', 'c', '-']
    run = subprocess.run(command, input=f'#include "{path}"\n', capture_output=True, text=True,
                         check=False)
    return None if run.returncode == 0 else f'{path}: does not compile alone\n{run.stderr}'


def library_flags():
    if shutil.which('pkg-config') is None:
        return []
    run = subprocess.run(['pkg-config', '--cflags', *PKG_CONFIG_NAMES], capture_output=True,
                         text=True, check=False)
    return run.stdout.split()


def check_headers(root, _archives):
    flags = library_flags()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda p: compile_header(root, p, flags), tree_files(root, '.h'))
    return [r for r in results if r is not None]


def check_format(root, _archives):
    if shutil.which('clang-format') is None:
        return ['clang-format is not installed; run tools/setup']
    paths = tree_files(root, ('.c', '.h'))
    if not paths:
        return []
    run = subprocess.run(['clang-format', '--dry-run', '-Werror', *paths], cwd=root,
                         capture_output=True, text=True, check=False)
    places = re.findall(r'^(\S+?:\d+):\d+: error', run.stderr, re.MULTILINE)
    if run.returncode != 0 and not places:
        return [run.stderr]
    return [f'{place}: clang-format would change this' for place in dict.fromkeys(places)]


def check_words(root, _archives):
    findings = []
    for path in tree_files(root):
        try:
            text = read_text(root, path)
        except UnicodeDecodeError:
            continue  # a fuzz corpus or another binary file
        for m in FORBIDDEN_WORDS.finditer(text):
            findings.append(f'{path}:{text.count(chr(10), 0, m.start()) + 1}: {m.group(1)}')
    return findings


CHECKS = {
    'includes': check_includes,
    'purity': check_purity,
    'headers': check_headers,
    'format': check_format,
    'words': check_words,
}


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split('usage: ')[1], add_help=True)
    parser.add_argument('--root', default=os.path.join(os.path.dirname(__file__), '..', '..'))
    parser.add_argument('check', choices=CHECKS)
    parser.add_argument('archives', nargs='*')
    args = parser.parse_args()
    findings = CHECKS[args.check](os.path.abspath(args.root), args.archives)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
