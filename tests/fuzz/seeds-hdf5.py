#!/usr/bin/env python3
"""The files of test-stage-hdf5, which libhdf5 writes, into DIR."""
import os
import subprocess
import sys

program = os.path.join(os.environ.get("BUILDDIR", "."),
                       "tests/unit/test-stage-hdf5")
sys.exit(subprocess.run([program, sys.argv[1]], check=False).returncode)
