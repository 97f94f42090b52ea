#!/bin/sh
# One mount of the demo's hubs from beginning to end, by the tools people use:
# cat, ls, stat, cp, tar, getfattr's system call through python, a second mount
# refused, a dead one healed, an occupied directory refused.
[ -e /dev/fuse ] || exit 77
[ -r /dev/fuse ] && [ -w /dev/fuse ] || exit 77
[ -x "$BUILDDIR/omnihub-mount" ] || exit 99

top=$(mktemp -d "${TMPDIR:-/tmp}/omnihub-smoke-XXXXXX") || exit 99
mnt=$top/mnt
pids=
clean()
{
	for p in $pids; do
		kill -9 "$p" 2>/dev/null
	done
	umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt" 2>/dev/null
	rm -rf --one-file-system "$top"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

fail()
{
	echo "smoke: $*" >&2
	exit 1
}

mkdir "$top/data"
ln -s "$BUILDDIR/share/demo" "$top/data/demo"
ln -s "$SRCDIR/stage/blueprints" "$top/data/blueprints"
OMNIHUB_DATADIR=$top/data
XDG_CONFIG_HOME=$top/config
export OMNIHUB_DATADIR XDG_CONFIG_HOME
[ -d "$BUILDDIR/share/demo/huggingface" ] || exit 77

mount_it()
{
	timeout 30 "$BUILDDIR/omnihub-mount" --demo --cache "$top/cache" \
		"$@" "$mnt"
}

# The supervisor: the other process is its child.
daemon()
{
	all=" $(pgrep -f "omnihub-mount --demo --cache $top/cache" |
		tr '\n' ' ')"
	for p in $all; do
		case $all in
		*" $(ps -o ppid= -p "$p" | tr -d ' ') "*) ;;
		*) echo "$p" ;;
		esac
	done
}

# wait_for COMMAND…: until it succeeds; 20 s are for a busy machine.
wait_for()
{
	n=0
	until "$@"; do
		n=$((n + 1))
		[ $n -lt 200 ] || return 1
		sleep 0.1
	done
}

is_in_state()
{
	case $(ps -o stat= -p "$2") in
	$1*) ;;
	*) return 1 ;;
	esac
}

is_gone()
{
	! kill -0 "$1" 2>/dev/null || is_in_state Z "$1"
}

# Both, so that neither can unmount: nobody reaps the server while its parent
# is stopped.
kill_both()
{
	kill -STOP "$1" && wait_for is_in_state T "$1" || return
	server=$(pgrep -P "$1") && kill -9 "$server" &&
		wait_for is_in_state Z "$server" || return
	kill -9 "$1" && wait_for is_gone "$1"
}

is_unmounted()
{
	! mountpoint -q "$mnt"
}

# Whoever looks at all mounts of the machine keeps it busy for that moment.
umount_it()
{
	umount "$mnt" 2>/dev/null || fusermount3 -u "$mnt" 2>/dev/null
}

mount_it 2>"$top/err" || {
	# Containers often have the device and not the permission.
	grep -q "ermitted\|enied" "$top/err" && exit 77
	cat "$top/err"
	fail "does not mount"
}
pids=$(daemon)
hf=$mnt/huggingface

grep -q '^network' "$mnt/.omnihub/status" || fail "status"
"${PYTHON:-python3}" -c 'import json, sys; json.load(sys.stdin)' \
	<"$mnt/.omnihub/stats.json" || fail "stats.json"
[ "$(ls -a "$mnt" | tr '\n' ' ')" = \
	". .. .omnihub huggingface kaggle keras onnx pytorch tensorflow " ] ||
	fail "root: $(ls -a "$mnt")"
ls "$hf" | grep -qx bert-base || fail "no alias in ls"
[ ! -e "$hf/.Trash" ] || fail ".Trash is there"
[ ! -e "$hf/google-bert/none" ] || fail "what is not there is there"

model=$hf/bert-base/pytorch/model.onnx
size=$(stat -c %s "$model") || fail "stat"
[ "$(stat -c '%A %h' "$model")" = "-r--r--r-- 1" ] || fail "mode, links"
[ "$(wc -c <"$model")" = "$size" ] || fail "size differs from bytes"
cp "$model" "$top/copy" && cmp "$model" "$top/copy" || fail "cp"
tar -C "$hf/bert-base" -Scf "$top/t.tar" pytorch || fail "tar"
(cd "$top" && tar -xf t.tar && cmp pytorch/model.onnx copy) || fail "tar -S"
cmp "$hf/bert-base/model.safetensors" \
	"$BUILDDIR"/share/demo/huggingface/google-bert/bert-base-uncased/resolve/*/model.safetensors ||
	fail "a file differs from the hub's"
for op in "touch $hf/x" "rm -f $hf/bert-base/config.json" "mkdir $mnt/x" \
	"chmod 777 $model" "mv $model $hf/y"; do
	$op 2>/dev/null && fail "$op: succeeded"
done
(flock -n 9 || exit 1) 9<"$model" || fail "flock"

# A second mount there is refused in one line, the first stays.
mount_it 2>"$top/err" && fail "mounted twice"
[ "$(wc -l <"$top/err")" = 1 ] || fail "not one line: $(cat "$top/err")"
cmp "$model" "$top/copy" || fail "the first mount was disturbed"

# A killed daemon leaves a dead mount; mounting again heals it.
kill_both "$(daemon)" || fail "no daemon"
stat "$model" >/dev/null 2>&1
mount_it || fail "does not heal a dead mount"
pids="$pids $(daemon)"
cmp "$model" "$top/copy" || fail "after healing"

kill "$(daemon)"
wait_for is_unmounted || fail "SIGTERM does not unmount"

# What is in the directory is not hidden unasked.
touch "$mnt/mine"
mount_it 2>"$top/err" && fail "hid what was in the directory"
grep -q "not empty" "$top/err" || fail "not told: $(cat "$top/err")"
mount_it -o nonempty || fail "-o nonempty"
pids="$pids $(daemon)"
[ -d "$hf" ] || fail "-o nonempty shows nothing"
wait_for umount_it || fail "umount"
[ -e "$mnt/mine" ] || fail "what was there is gone"
exit 0
