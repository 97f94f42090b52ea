#!/bin/sh
# bash completes commands, actions, options and paths.
command -v bash >/dev/null || exit 77
tmp=$(mktemp -d "${TMPDIR:-/tmp}/omnihub-comp.XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' HUP INT TERM
HOME=$tmp XDG_CACHE_HOME=$tmp/cache OMNIHUB_DATADIR=$BUILDDIR/share
export HOME XDG_CACHE_HOME OMNIHUB_DATADIR
bad=0

# expect "WANTED…" WORD…: completing the last word gives these words and maybe
# others.
expect()
{
	want=$1
	shift
	got=$(bash -c '
		. "$SRCDIR/contrib/completion/$1" || exit 1
		f=_$(echo "$1" | tr - _)
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		$f
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@")
	for w in $want; do
		if ! printf '%s\n' "$got" | grep -qxF -e "$w"; then
			echo "completing '$*': no '$w' in:" $got
			bad=1
		fi
	done
	for w in $unwanted; do
		if printf '%s\n' "$got" | grep -qxF -e "$w"; then
			echo "completing '$*': '$w' is offered"
			bad=1
		fi
	done
}

unwanted=
expect "mount umount status ls du get info cache families doctor --help" \
	omnihub ""
unwanted="cache ls"
expect "doctor du" omnihub d
unwanted="--quiet"
expect "--json --long --refresh --offline --help" omnihub ls --
unwanted="--long --json"
expect "--quiet" omnihub get huggingface/x --
unwanted=
expect "stat gc verify pin unpin adopt clear" omnihub cache ""
mkdir "$tmp/dir"
expect "$tmp/dir" omnihub umount "$tmp/d"
expect "huggingface/" omnihub ls --demo h
expect "huggingface/bert-base/" omnihub ls --demo huggingface/bert-b
exit $bad
