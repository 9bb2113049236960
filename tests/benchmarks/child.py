"""A contender in a process of its own: ``python -m tests.benchmarks.child NAME MODEL DATASET``.

Requests arrive as JSON lines on standard input, answers leave on standard output; the prints of a
library go to standard error. The end of the input ends the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from harness.errors import HarnessError, RunError
from tests.benchmarks.contenders import CONTENDERS, Contender, Ranked, Trained

REPOSITORY = Path(__file__).resolve().parents[2]
Answer = dict[str, Any]


class Child:
    """The parent's end of such a process; the process is ready when this returns.

    Args:
        contender: name in ``CONTENDERS``.
        model, dataset: model and dataset to measure.

    Raises:
        RunError: the process could not start.
    """

    def __init__(self, contender: str, model: str, dataset: str) -> None:
        entrant = CONTENDERS[contender]
        self.name = f"{entrant.title} {model} on {dataset}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        environment = child_environment()
        if entrant.package and "OMP_WAIT_POLICY" not in environment:
            # ``harness/__init__.py`` lowers it for its own kernels; peers get the default of
            # GCC's libgomp back, which documents 300,000.
            environment["GOMP_SPINCOUNT"] = "300000"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.child", contender, model, dataset],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        self.rankings: list[str] = self._answer()["rankings"]

    def train(self, seconds: float) -> Trained:
        """Train for about this long."""
        return Trained(**self._request({"train": seconds})["result"])

    def rank(self, kind: str) -> tuple[Ranked, int]:
        """Rank; also return the peak bytes over those at the process's start."""
        answer = self._request({"rank": kind})
        return Ranked(**answer["result"]), int(answer["peak"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # an unread request
                pipe.close()
        self._errors.close()

    def _request(self, request: dict[str, Any]) -> Answer:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its standard error says why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Answer:
        assert self._process.stdout is not None
        answer = parse_answer(self._process.stdout.readline())
        if answer is None:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            self.close()
            raise RunError(f"{self.name}: {lines[-1] if lines else 'ended without a message'}")
        return answer


def child_environment() -> dict[str, str]:
    """Return an environment in which ``tests`` is this checkout's, from any folder."""
    path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def parse_answer(line: str) -> Answer | None:
    """Parse a line; None when it is no answer, as when the process died."""
    try:
        answer = json.loads(line)
    except json.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _serve(name: str, model: str, dataset: str) -> int:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from harness.data.load import load_graph
    from harness.peak import peak

    try:
        build = CONTENDERS[name].load()
        start = psutil.Process().memory_info().rss
        contender = build(model, load_graph(dataset))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    answers.write(json.dumps({"rankings": list(contender.rankings)}) + "\n")
    for line in sys.stdin:
        result = _measure(contender, json.loads(line), CONTENDERS[name].triples)
        answers.write(json.dumps({"result": result._asdict(), "peak": peak() - start}) + "\n")
    return 0


def _measure(contender: Contender, request: dict[str, Any], triples: int) -> Trained | Ranked:
    from harness.peak import forget_peak

    forget_peak()
    if "rank" in request:
        return contender.rankings[request["rank"]](triples)
    return contender.train(request["train"])


if __name__ == "__main__":
    raise SystemExit(_serve(*sys.argv[1:]))
