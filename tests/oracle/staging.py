"""What every oracle test of staging shares: oracle/stage-dir, which is the
stage room alone, the bounds, and the rows of a run. Ends with 77 (skipped)
where a module that oracle/requirements.txt names is missing."""
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import sentence_transformers  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

TOLERANCE = 2e-5
# Of the same model with rounded weights.
VARIANTS = {"model_fp16.onnx": 5e-3}
EIGHT = 0.999       # cosine of the outputs of model_int8.onnx
SRCDIR = os.environ.get("SRCDIR", os.getcwd())
BUILDDIR = os.environ.get("BUILDDIR", os.getcwd())
STAGE_DIR = os.path.join(BUILDDIR, "tests", "oracle", "stage-dir")

# What the SameDiff importer maps: one operator a line.
SAMEDIFF_OPS = {
    line.split()[0] for line in open(os.path.join(
        SRCDIR, "tests", "oracle", "samediff-onnx-ops.txt"),
        encoding="utf-8") if line.strip() and line[0] != "#"}


class Report:
    def __init__(self, words):
        self.words = words
        self.passed = self.failed = 0

    def wants(self, name):
        return not self.words or any(w in name for w in self.words)

    def run(self, name, fn, *args, **kwargs):
        if not self.wants(name):
            return
        try:
            text = fn(*args, **kwargs)
            self.passed += 1
            print(f"ok    {name:58} {text or ''}", flush=True)
        except Exception as e:  # pylint: disable=broad-except
            self.failed += 1
            print(f"FAIL  {name:58} {type(e).__name__}: {e}", flush=True)


def stage(repo, out, opset, *only):
    """(exit code, stderr) of stage-dir."""
    done = subprocess.run([STAGE_DIR, repo, str(opset), out, *only], text=True,
                          capture_output=True, timeout=120, check=False)
    return done.returncode, done.stderr.strip()


def staged(repo, opset):
    """A directory with what stage-dir made; the caller removes it."""
    out = tempfile.mkdtemp(prefix="staged-")
    code, why = stage(repo, out, opset)
    if code:
        shutil.rmtree(out)
        raise AssertionError(f"stage-dir: {code}: {why}")
    return os.path.join(out, "pytorch"), out


def shipped(package):
    """The directory of a package whose files are wanted and no code: of this
    interpreter, or that of ORACLE_CLIENTS. None: neither has it."""
    ask = "import importlib.util as u, sys\n" \
        "s = u.find_spec(sys.argv[1])\n" \
        "print(s.submodule_search_locations[0] if s else '')"
    for python in filter(None, (sys.executable,
                                os.environ.get("ORACLE_CLIENTS"))):
        at = subprocess.run([python, "-c", ask, package], text=True,
                            check=True, stdout=subprocess.PIPE).stdout.strip()
        if at:
            return at
    return None
