#!/bin/sh
# A part of what `make check-crash` does. Sanitizers and the shim want the same
# place before the C library.
if grep -q -e __asan_ -e __tsan_ "$BUILDDIR/omnihub"; then
	echo "built with a sanitizer"
	exit 77
fi
for part in each_operation powercut; do
	"${PYTHON:-python3}" "$SRCDIR/tests/crash/$part.py" --part || exit 1
done
