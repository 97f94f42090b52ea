#!/bin/sh
# What of the fault matrix is played at every check; see matrix.py. A sanitizer
# may stand behind the clock's shim.
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
export ASAN_OPTIONS
exec "${PYTHON:-python3}" "$SRCDIR/tests/hub/matrix.py" --table --part
