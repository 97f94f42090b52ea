#!/bin/sh
# automake names the log of a test without its suffix: of two tests that differ
# in nothing else only one is run.
twice=$(cd "$SRCDIR" && find tests -name '*.sh' -o -name '*.py' -o -name '*.txt' |
	sed 's/\.[a-z]*$//' | sort | uniq -d)
[ -z "$twice" ] && exit 0
echo "only the suffix tells these apart:"
echo "$twice"
exit 1
