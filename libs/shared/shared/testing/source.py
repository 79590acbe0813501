"""Read the project's own source, for tests about it."""

import ast
import gc


def syntax_tree(source: str) -> ast.Module:
    """Parse Python, undisturbed by the garbage collector.

    What it collects may log a traceback (a task nobody awaited), for which Python parses lines of its own in the middle
    of ours; before 3.11.8 and 3.12.2 that ends in a SystemError (https://github.com/python/cpython/issues/106905).
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collected:
            gc.enable()
