#!/bin/sh
# A tarball holds what git holds: a source that no Makemodule.am names would
# be missing from it. Only meaningful in a checkout.
cd "$SRCDIR" || exit 99
command -v git >/dev/null && git rev-parse --git-dir >/dev/null 2>&1 || {
	echo "skipped: not a git checkout"
	exit 77
}
[ "$(git rev-parse --show-toplevel)" = "$(pwd -P)" ] || exit 77
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
unset MAKEFLAGS MFLAGS
make -s -C "$BUILDDIR" print-distfiles | sort -u >"$tmp/dist"
[ -s "$tmp/dist" ] || exit 99
git ls-files | grep -vE '^(\.gitignore|\.clang-format|\.clang-tidy|\.ci/)' |
	sort -u >"$tmp/git"
missing=$(comm -13 "$tmp/dist" "$tmp/git")
[ -z "$missing" ] || {
	echo "in git but not in the tarball:"
	echo "$missing"
	exit 1
}
