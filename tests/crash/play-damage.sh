#!/bin/sh
# A part of what `make check-damage` does.
exec "${PYTHON:-python3}" "$SRCDIR/tests/crash/damage.py" --part
