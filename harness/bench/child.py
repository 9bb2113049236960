"""A contender in a process of its own: ``python -m harness.bench.child CONTENDER MODEL DATASET``.

Requests come as JSON lines on standard input (``Train``, ``Rank``), answers go to standard output;
whatever a library prints goes to standard error. The end of the input ends the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any

from harness.bench.contenders import CONTENDERS, Contender
from harness.errors import HarnessError, RunError

__all__ = ["Child", "answer_of"]

Answer = dict[str, Any]


class Child:
    """The parent's end of such a process; it is ready when this returns.

    Args:
        contender: name in ``CONTENDERS``.
        model, dataset: what it is to be measured on.

    Raises:
        RunError: it could not start.
    """

    def __init__(self, contender: str, model: str, dataset: str) -> None:
        self.name = f"{CONTENDERS[contender].title} {model} on {dataset}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "harness.bench.child", contender, model, dataset],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(contender),
            text=True,
        )
        self.rankings: list[str] = self._answer()["rankings"]

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def train(self, seconds: float) -> float:
        """Return positives per second of about so many seconds of training."""
        found = self._ask({"train": seconds})
        return float(found["positives"] / found["seconds"])

    def rank(self, way: str) -> tuple[float, int]:
        """Return queries per second, and bytes at the peak over those of the process's start."""
        found = self._ask({"rank": way})
        return float(found["queries"] / found["seconds"]), int(found["peak"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # a request that nobody read
                pipe.close()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> Answer:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its last words say why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Answer:
        assert self._process.stdout is not None
        found = answer_of(self._process.stdout.readline())
        if found is None:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            self.close()
            raise RunError(f"{self.name}: {said[-1] if said else 'it died without a word'}")
        return found


def _environment(contender: str) -> dict[str, str]:
    """Return the environment of the process: peers get OpenMP's own waiting back."""
    found = dict(os.environ)
    if CONTENDERS[contender].package and "OMP_WAIT_POLICY" not in found:
        # ``harness/__init__.py`` lowers it for its own kernels; GCC's libgomp documents 300,000.
        found["GOMP_SPINCOUNT"] = "300000"
    return found


def answer_of(line: str) -> Answer | None:
    """Return the answer that a line holds; None when it is none, as when the process died."""
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _serve(name: str, model: str, dataset: str) -> int:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from harness.bench.memory import resident
    from harness.data.load import load_graph
    from harness.peak import peak

    try:
        build = CONTENDERS[name].load()
        start = resident()
        contender = build(model, load_graph(dataset))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    answers.write(json.dumps({"rankings": list(contender.rankings)}) + "\n")
    for line in sys.stdin:
        found = _measure(contender, json.loads(line), CONTENDERS[name].triples)
        answers.write(json.dumps({**found, "peak": peak() - start}) + "\n")
    return 0


def _measure(contender: Contender, request: dict[str, Any], triples: int) -> Answer:
    from harness.peak import forget_peak

    forget_peak()
    if "rank" in request:
        return contender.rankings[request["rank"]](triples)._asdict()
    return contender.train(request["train"])._asdict()


if __name__ == "__main__":
    raise SystemExit(_serve(*sys.argv[1:]))
