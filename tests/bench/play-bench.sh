#!/bin/sh
# The benchmark still runs: one round over tiny files, nothing is timed. With a
# sanitizer inside there is nothing to compare: what it drives are the same
# programs that every other test runs.
if grep -q -e __asan_ -e __tsan_ "$BUILDDIR/omnihub-mount"; then
	echo "skipped: built with a sanitizer"
	exit 77
fi
BENCH=smoke exec "${PYTHON:-python3}" "$SRCDIR/tests/bench/bench.py"
