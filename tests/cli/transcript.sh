#!/bin/sh
# Play a transcript: run each line that begins with "$ " and compare what it
# prints (stdout and stderr together, then "[status]" unless 0) with the lines
# that follow it. Everything is private: home, cache, configuration; the
# directory they are in is written TMP, and that of the build BUILD. Lines beginning with "#" are comments.
#
#   transcript.sh FILE             compare
#   UPDATE=1 transcript.sh FILE    write FILE anew
set -u
bin=$(command -v omnihub) || exit 99
file=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
tmp=$(mktemp -d "${TMPDIR:-/tmp}/omnihub-cli.XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' HUP INT TERM

# Nothing of the user's own settings may show.
for v in $(env | sed -n 's/^\(\(OMNIHUB\|HF\|HUGGING\|HUGGINGFACE\|KAGGLE\)[A-Z_]*\)=.*/\1/p')
do
	unset "$v"
done
unset MODELHUB_PATH XDG_CONFIG_HOME XDG_CACHE_HOME GITHUB_TOKEN TORCH_HOME
HOME=$tmp/home
OMNIHUB_DATADIR=$BUILDDIR/share
LC_ALL=C.UTF-8
TZ=UTC
export HOME OMNIHUB_DATADIR LC_ALL TZ
mkdir "$HOME" && cd "$tmp" || exit 99

omnihub()
{
	timeout 60 "$bin" "$@"
}

while IFS= read -r line; do
	case $line in
	'$ '*)
		printf '%s\n' "$line"
		(eval "${line#\$ }") </dev/null >out 2>&1
		status=$?
		sed "s|$tmp|TMP|g; s|$BUILDDIR|BUILD|g" out
		[ $status -eq 0 ] || echo "[$status]"
		;;
	'#'*)
		printf '%s\n' "$line"
		;;
	esac
done <"$file" >got

if [ -n "${UPDATE-}" ]; then
	cp got "$file"
	exit
fi
diff -u "$file" got
