#!/bin/sh
# Each header compiles alone: whoever includes it needs to know of no other.
# HEADERS_CC is the compiler with the build's flags.
cd "$SRCDIR" || exit 99
[ -n "$HEADERS_CC" ] || {
	echo "HEADERS_CC is not set"
	exit 99
}
list=$(find base cache fetch stage fs cli -name '*.h' | sort)
[ -n "$list" ] || exit 99
bad=0
for h in $list; do
	printf '#include "config.h"\n#include "%s"\n' "$h" |
		$HEADERS_CC -I"$SRCDIR" -I"$BUILDDIR" \
			-Werror -fsyntax-only -x c - || bad=1
done
exit $bad
