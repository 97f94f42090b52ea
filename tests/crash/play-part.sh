#!/bin/sh
# A part of what `make check-crash` does. A sanitizer may stand behind the shim:
# each calls the next, whichever of them is first.
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
export ASAN_OPTIONS
for part in each_operation powercut; do
	"${PYTHON:-python3}" "$SRCDIR/tests/crash/$part.py" --part || exit 1
done
"${PYTHON:-python3}" "$SRCDIR/tests/crash/each_operation.py" --beside after evict
