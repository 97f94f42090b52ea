#!/bin/sh
# Seconds of what `make soak` does for minutes.
exec "${PYTHON:-python3}" "$SRCDIR/tests/soak/soak.py" 9
