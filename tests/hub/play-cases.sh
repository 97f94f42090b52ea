#!/bin/sh
# Every adapter's cases; see cases.py.
exec "${PYTHON:-python3}" "$SRCDIR/tests/hub/cases.py" \
	"$SRCDIR"/tests/hub/cases/*.toml
