#!/bin/sh
# The unit files as systemd reads them, and how exposed it finds the one of the
# system. Skipped where there is no systemd-analyze.
command -v systemd-analyze >/dev/null || exit 77
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
for unit in omnihub omnihub-user@ omnihub@; do
	sed "s|@bindir@|$BUILDDIR|" "$SRCDIR/contrib/systemd/$unit.service.in" \
		>"$tmp/$unit.service" || exit 99
done
cp "$tmp/omnihub-user@.service" "$tmp/omnihub-user@srv-models.service"
cp "$tmp/omnihub@.service" "$tmp/omnihub@srv-models.service"
bad=0
for unit in omnihub omnihub-user@srv-models omnihub@srv-models; do
	mode=--user
	[ "$unit" = "omnihub@srv-models" ] && mode=--system
	# Of the machine's own units nothing is asked, nor of manuals that are
	# not installed here.
	out=$(XDG_RUNTIME_DIR="$tmp" systemd-analyze --man=no "$mode" verify \
		"$tmp/$unit.service" 2>&1 | grep -F "$unit")
	if [ -n "$out" ]; then
		echo "$out"
		bad=1
	fi
done
# 0 is locked in, 100 is naked; a unit that says nothing has 96.
systemd-analyze security --offline=true --threshold=50 \
	"$tmp/omnihub@srv-models.service" >"$tmp/exposure" 2>&1 ||
	if grep -q 'Unknown\|unrecognized' "$tmp/exposure"; then
		:	# an older one cannot do it without a manager
	else
		tail -n 40 "$tmp/exposure"
		bad=1
	fi
tail -n 1 "$tmp/exposure"
exit $bad
