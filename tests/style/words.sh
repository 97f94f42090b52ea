#!/bin/sh
# Words and names that have no place in the tree: rooms for everything
# (util.c), promises instead of work, somebody's own directories, and files
# that nobody can read.
cd "$SRCDIR" || exit 99
rooms="base cache fetch stage fs cli contrib tests m4"
top="configure.ac Makefile.am README.md"
for f in ARCHITECTURE.md HACKING.md NEWS .ci; do
	[ ! -e "$f" ] || top="$top $f"
done
bad=0

complain()
{
	[ -z "$2" ] && return
	echo "$1:"
	echo "$2" | sed 's/^/  /'
	bad=1
}

# shellcheck disable=SC2086
files=$(find $rooms $top -type f ! -path '*/__pycache__/*')
[ -n "$files" ] || exit 99

complain "file name that says nothing" "$(echo "$files" |
	grep -E '/(utils?|misc|common|helpers?|core)\.[a-z]+$')"

# This file has to name what it looks for.
list=$(echo "$files" | grep -v '/style/words\.sh$')
# shellcheck disable=SC2086
complain "promise instead of work" "$(printf '%s\n' $list | xargs grep -nIE \
	'\b(TODO|FIXME|XXX|HACK)\b|\b[Ff]or now\b|[Ss]implified version')"
# shellcheck disable=SC2086
complain "path of one machine" "$(printf '%s\n' $list | xargs grep -nIE \
	'(^|[^A-Za-z0-9_.])/(home/[a-z]{2}|root/|work/|Users/|tmp/w/)')"
# shellcheck disable=SC2086
complain "space at the end of a line" "$(printf '%s\n' $list |
	grep -E '\.(c|h|am|ac|m4|py|sh|proto|bp)$' |
	xargs grep -nIE '[ 	]+$')"
# What grep takes for binary, no person reads in a review.
# shellcheck disable=SC2086
complain "opaque file" "$(printf '%s\n' $list | xargs grep -LIE '^|$' |
	while read -r f; do
		[ ! -s "$f" ] || echo "$f"
	done)"
exit $bad
