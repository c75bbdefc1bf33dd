#!/usr/bin/env python3
"""Feeds evidence.py small tables, good and bad."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import evidence

COMMAND = '`meson test -C build it_disk`'


def table(**changed):
    rows = {name: ['a claim', '`tests/evidence.py`', COMMAND, 'held'] for name in evidence.ROWS}
    rows.update({name.removeprefix('row_'): cells for name, cells in changed.items()})
    return '# Title\n| row | claim | test | command | last result |\n|---|---|---|---|---|\n' + ''.join(
        f'| {name} | {" | ".join(cells)} |\n' for name, cells in rows.items() if cells)


def faults(**changed):
    return evidence.faults(table(**changed), {'it_disk'})


class Table(unittest.TestCase):
    def test_a_complete_table_has_no_fault(self):
        self.assertEqual(faults(), [])

    def test_a_row_may_have_a_second_line_with_a_letter(self):
        self.assertEqual(faults(row_4b=['more', 'tests/evidence.py', COMMAND, 'held']), [])

    def test_a_missing_row_is_found(self):
        self.assertEqual(faults(row_16=None), ['row 16 is missing'])

    def test_an_empty_cell_is_found(self):
        self.assertEqual(faults(row_9=['a claim', 'a test', COMMAND, '']), ['row 9: an empty cell'])

    def test_a_test_file_that_is_not_there_is_found(self):
        self.assertEqual(faults(row_9=['a claim', '`tests/no/such.py`', COMMAND, 'held']),
                         ['row 9: there is no tests/no/such.py'])

    def test_a_test_that_meson_does_not_know_is_found(self):
        self.assertEqual(faults(row_9=['a', 'b', '`meson test -C build it_nothing`', 'c']),
                         ['row 9: meson knows no test it_nothing'])

    def test_a_case_that_a_script_does_not_have_is_found(self):
        script = 'tests/integration/it_disk.py'
        self.assertEqual(faults(row_9=['a', 'b', f'`PQB_BIN=build python3 {script} test_nothing`', 'c']),
                         [f'row 9: {script} has no case test_nothing'])

    def test_a_command_of_another_shape_is_found(self):
        self.assertEqual(len(faults(row_9=['a', 'b', 'run it', 'c'])), 1)
        self.assertEqual(len(faults(row_9=['a', 'b', '`make check`', 'c'])), 1)

    def test_a_setting_before_the_command_is_its_environment(self):
        row = evidence.read_rows(table(row_9=['a', 'b', '`PQB_BIN=build python3 tests/evidence.py 9`', 'c']))
        [nine] = [r for r in row if r['row'] == '9']
        self.assertEqual(evidence.command_of(nine),
                         ({'PQB_BIN': 'build'}, ['python3', 'tests/evidence.py', '9']))


if __name__ == '__main__':
    unittest.main()
