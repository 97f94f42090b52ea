#!/bin/sh
# How `make check` starts a test program. A fuzz target (fuzz-THING) gets its
# seeds: the files of tests/fuzz/seeds/THING and those that the readable
# generator tests/fuzz/seeds-THING.py writes into the directory it is given.
# Every other program is just run. None may hang: after TEST_SECONDS (300) it is
# ended and has failed.
limit="timeout -k 10 ${TEST_SECONDS:-300}"
program=$1
name=${program##*/}
thing=${name#fuzz-}
[ "$thing" != "$name" ] || exec $limit "$@"

made=$(mktemp -d) || exit 99
trap 'rm -rf "$made"' EXIT
if [ -f "$SRCDIR/tests/fuzz/seeds-$thing.py" ]; then
	"$PYTHON" "$SRCDIR/tests/fuzz/seeds-$thing.py" "$made" || exit 99
fi
[ ! -d "$SRCDIR/tests/fuzz/seeds/$thing" ] ||
	cp -R "$SRCDIR/tests/fuzz/seeds/$thing/." "$made" || exit 99
# File by file: libFuzzer would start to fuzz on a directory.
find "$made" -type f | sort | {
	set --
	while IFS= read -r f; do
		set -- "$@" "$f"
	done
	[ $# -gt 0 ] || {
		echo "$name has no seeds"
		exit 99
	}
	$limit "$program" "$@"
}
