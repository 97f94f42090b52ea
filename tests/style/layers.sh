#!/bin/sh
# A room may include its own headers, anything in base/, and the door header
# of a room that stands before it in $rooms. Includes between headers of one
# room must not form a cycle.
rooms="base cache fetch stage fs cli"

cd "$SRCDIR" || exit 99
bad=0
below=
for room in $rooms; do
	allow="^($room/|base/|config\.h$"
	for r in $below; do
		allow="$allow|$r/$r\.h$"
	done
	allow="$allow)"
	out=$(find "$room" -name '*.[ch]' | sort |
		xargs grep -nE '^ *# *include +"' /dev/null |
		sed 's/^\([^:]*:[0-9]*\):.*"\(.*\)".*/\1 \2/' |
		awk -v ok="$allow" '$2 !~ ok')
	if [ -n "$out" ]; then
		echo "$out"
		bad=1
	fi
	below="$below $room"
done
find $rooms -name '*.h' | sort |
	xargs grep -E '^ *# *include +"' /dev/null |
	sed 's/^\([^:]*\):.*"\(.*\)".*/\1 \2/' | tsort >/dev/null || bad=1
exit $bad
