#!/bin/sh
# What of the fault matrix is played at every check; see matrix.py.
exec "${PYTHON:-python3}" "$SRCDIR/tests/hub/matrix.py" --table --part
