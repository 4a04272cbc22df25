"""Runs test files under MicroPython: `micropython runner.py FILE...` (tests are plain asserts).

Each file's `test_*` functions run in the order they stand; the last line is `N passed, M failed`.
"""

import gc
import sys


def run(path):
    passed = failed = 0
    namespace = {"__name__": "test", "__file__": path}
    with open(path) as file:
        source = file.read()
    # MicroPython keeps no order in a module's dict, so the order is read from the source.
    names = []
    for line in source.split("\n"):
        if line.startswith("def test_"):
            names.append(line[4 : line.index("(")])
    exec(compile(source, path, "exec"), namespace)
    for name in names:
        gc.collect()
        try:
            namespace[name]()
            passed += 1
        except Exception as error:
            failed += 1
            print("FAILED", path, name)
            sys.print_exception(error)
    return passed, failed


def main(paths):
    passed = failed = 0
    for path in paths:
        p, f = run(path)
        passed += p
        failed += f
    print(passed, "passed,", failed, "failed")
    sys.exit(1 if failed or not passed else 0)


main(sys.argv[1:])
