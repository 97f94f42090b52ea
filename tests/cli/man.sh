#!/bin/sh
# The man pages format without a warning, and speak of every command, option
# and key there is.
bad=0
man=$SRCDIR/contrib/man
if command -v man >/dev/null; then
	for page in "$man"/*.1; do
		out=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l \
			-Tutf8 -Z "$page" 2>&1 >/dev/null)
		[ -z "$out" ] || { echo "$page: $out"; bad=1; }
	done
fi
for opt in $(omnihub --help | sed -n 's/^  -., --\([a-z]*\).*/\1/p'); do
	grep -q -e "Fl -$opt\b" "$man/omnihub.1" ||
		{ echo "omnihub.1: no option --$opt"; bad=1; }
done
for cmd in $(omnihub --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'); do
	grep -q "^\.It Cm $cmd\b" "$man/omnihub.1" ||
		{ echo "omnihub.1: no command $cmd"; bad=1; }
	for opt in $(omnihub $cmd --help | sed -n 's/^ .*--\([a-z-]*\).*/\1/p')
	do
		grep -q -e "Fl -$opt\b" "$man/omnihub.1" "$man/omnihub-mount.1" ||
			{ echo "omnihub.1: no option --$opt"; bad=1; }
	done
done
for key in $(sed -n 's/.*KEY("\([a-z.]*\)".*/\1/p' \
	"$SRCDIR/base/conf-table.c")
do
	grep -qF "$key" "$man/omnihub-mount.1" ||
		{ echo "omnihub-mount.1: no key $key"; bad=1; }
done
exit $bad
