#!/usr/bin/env python3
"""Feeds arch_check.py small trees, good and bad, and looks at its exit status and words."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKER = os.path.join(HERE, 'arch_check.py')

GOOD_TREE = {
    'common/base/a.h': '#pragma once\n#include <stddef.h>\n',
    'common/wire/w.c': '#include <msgpack.h>\n\n#include "common/base/a.h"\n',
    'common/wire/w.h': '#pragma once\n#include "common/base/a.h"\n',
    'common/proto/p.h': '#pragma once\n#include "common/wire/w.h"\n',
    'common/client/c.h': '#pragma once\n#include "common/proto/p.h"\n',
    'storage/store.h': '#pragma once\n#include "common/wire/w.h"\n',
    'storage/db.h': '#pragma once\n#include <lmdb.h>\n',
    'storage/db_user.h': '#pragma once\n#include "storage/db.h"\n',
    'gateway/core/e.h': '#pragma once\n#include "storage/store.h"\n',
    'gateway/config/f.h': '#pragma once\n#include "common/base/a.h"\n',
    'gateway/io/i.c': '#include <event2/event.h>\n\n#include "gateway/core/e.h"\n',
    'gateway/io/i.h': '#pragma once\n#include "gateway/core/e.h"\n',
    'gateway/admin/d.h': '#pragma once\n#include "gateway/io/i.h"\n',
    'gateway/main.c': '#include "gateway/admin/d.h"\n',
    'tests/unit/t.c': '#include "gateway/core/e.h"\n#include "storage/store.h"\n',
}


class ArchCheck(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(os.path.join(HERE, '..', '..', '.clang-format'), self.root)
        for path, text in GOOD_TREE.items():
            self.write(path, text)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as file:
            file.write(text)
        return full

    def check(self, name, *archives):
        run = subprocess.run([sys.executable, CHECKER, '--root', self.root, name, *archives],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout

    def expect_finding(self, check, words, *archives):
        status, out = self.check(check, *archives)
        self.assertEqual(status, 1, out)
        self.assertIn(words, out)

    def archive(self, source, name='object.c'):
        """A static library made of one source."""
        path = self.write('built/' + name, source)
        subprocess.run(['cc', '-c', path, '-o', path + '.o'], check=True)
        archive = os.path.join(self.root, 'built', name + '.a')
        subprocess.run(['ar', 'rc', archive, path + '.o'], check=True)
        return archive

    def test_a_tree_that_keeps_the_arrows_passes(self):
        for check in ('includes', 'format', 'words'):
            self.assertEqual(self.check(check), (0, ''))

    def test_an_arrow_against_the_order_is_found(self):
        bad = [('common/base/x.h', 'common/wire/w.h'), ('common/wire/x.h', 'common/proto/p.h'),
               ('common/proto/x.h', 'common/client/c.h'), ('storage/x.h', 'common/proto/p.h'),
               ('common/proto/x.h', 'storage/store.h'), ('gateway/core/x.h', 'gateway/io/i.h'),
               ('gateway/config/x.h', 'common/wire/w.h'), ('gateway/io/x.h', 'gateway/admin/d.h'),
               ('common/client/x.h', 'gateway/core/e.h')]
        for path, target in bad:
            with self.subTest(path=path, target=target):
                full = self.write(path, f'#pragma once\n#include "{target}"\n')
                self.expect_finding('includes', f'{path}:2: ')
                os.remove(full)

    def test_the_core_sees_nothing_of_storage_but_the_store_interface(self):
        self.write('storage/other.h', '#pragma once\n')
        self.write('gateway/core/x.c', '#include "storage/other.h"\n')
        self.expect_finding('includes', 'gateway/core/ must not include "storage/other.h"')

    def test_headers_that_reach_lmdb_stay_in_storage(self):
        self.write('tools/x.c', '#include "storage/db_user.h"\n')
        self.expect_finding('includes', 'knows LMDB')

    def test_libraries_stay_in_their_folders(self):
        for path, header in [('gateway/core/x.c', 'lmdb.h'), ('tests/unit/x.c', 'lmdb.h'),
                             ('gateway/core/x.c', 'event2/event.h'),
                             ('common/proto/x.c', 'msgpack.h'), ('storage/x.c', 'msgpack/pack.h')]:
            with self.subTest(path=path, header=header):
                full = self.write(path, f'#include <{header}>\n')
                self.expect_finding('includes', f'{path}:1: <{header}>')
                os.remove(full)

    def test_an_include_that_is_not_from_the_top_is_found(self):
        self.write('common/base/x.c', '#include "a.h"\n')
        self.expect_finding('includes', 'not a path from the top')

    def test_a_source_outside_the_layout_is_found(self):
        self.write('extra/x.c', '')
        self.expect_finding('includes', 'outside the folders')

    def test_an_archive_that_reads_the_clock_is_found(self):
        source = '#include <time.h>\nlong f(void) { return time(0); }\n'
        self.expect_finding('purity', 'imports time', self.archive(source))

    def test_a_pure_archive_passes_and_a_missing_one_does_not(self):
        source = '#include <string.h>\nvoid f(void *p, int n) { memset(p, 0, n); }\n'
        self.assertEqual(self.check('purity', self.archive(source)), (0, ''))
        self.expect_finding('purity', 'nm', os.path.join(self.root, 'none.a'))
        self.expect_finding('purity', 'name the archives')

    def test_the_udp_driver_of_the_client_may_be_impure(self):
        source = '#include <time.h>\nlong f(void) { return time(0); }\n'
        self.assertEqual(self.check('purity', self.archive(source, 'client_udp.c')), (0, ''))

    def test_a_header_that_needs_another_first_is_found(self):
        for path in list(GOOD_TREE):  # those may need libraries that are not what is tested here
            os.remove(os.path.join(self.root, path))
        self.write('common/base/good.h', '#pragma once\n#include <stddef.h>\nsize_t f(void);\n')
        self.assertEqual(self.check('headers'), (0, ''))
        self.write('common/base/bad.h', '#pragma once\nuint8_t g(void);\n')
        self.expect_finding('headers', 'common/base/bad.h: does not compile alone')

    def test_bad_layout_is_found(self):
        self.write('common/base/x.c', 'int  f( void ){return 0;}\n')
        self.expect_finding('format', 'common/base/x.c:1')

    def test_unfinished_work_is_found(self):
        self.write('common/base/x.c', '// TO' + 'DO: later\n')
        self.expect_finding('words', 'common/base/x.c:1')

    def test_build_folders_are_not_looked_into(self):
        self.write('build-x/x.c', '#include "nowhere.h"\n// TO' + 'DO\n')
        self.assertEqual(self.check('includes'), (0, ''))
        self.assertEqual(self.check('words'), (0, ''))

    def test_wrong_use_is_told_apart_from_findings(self):
        self.assertEqual(self.check('nonsense')[0], 2)


if __name__ == '__main__':
    unittest.main()
