"""Runs in an MLflow store: a SQLite file by default, $MLFLOW_TRACKING_URI if set."""

from __future__ import annotations

import os
import shlex
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

from harness.loggers.base import EndStatus, LoggedRun, record_texts, record_values
from harness.store.records import RunRecord

# Read when MLflow is imported or first connects: no reports on its use, no lines on its tables, and
# a server that is gone stops the logger after seconds instead of minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

__all__ = ["MLflowLogger"]

_PARAMS, _METRICS, _PARAM_LENGTH, _TAG_LENGTH = 100, 1000, 6000, 5000
"""Limits of MLflow: parameters (or tags) and metrics of one call, characters of a parameter and of
a tag."""
_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}


class MLflowLogger:
    """Logs an experiment per suite and an MLflow run per run.

    Args:
        folder: folder of ``mlflow.db``, unless $MLFLOW_TRACKING_URI names a store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        address = os.environ.get("MLFLOW_TRACKING_URI")
        if not address:
            self.folder.mkdir(parents=True, exist_ok=True)
            address = f"sqlite:///{self.folder}/mlflow.db"
        is_server = address.startswith(("http:", "https:"))
        # The extra is mlflow-skinny, whose `mlflow ui` lacks the server's packages.
        show = "" if is_server else "pip install mlflow && mlflow ui --backend-store-uri "
        self.opened_by = show + shlex.quote(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
            self._client = MlflowClient(address)
            self._client.search_experiments(max_results=1)  # connects, makes the tables
        self._runs: dict[str, str] = {}
        self._last: dict[str, int] = {}

    def start(self, run: LoggedRun) -> None:
        """See ``Logger.start``."""
        experiment = self._experiment(run.suite)
        earlier = self._client.search_runs(
            [experiment], f"tags.`harness.run_id` = '{run.run_id}'", max_results=1000
        )
        for old in earlier:
            self._client.delete_run(old.info.run_id)
        tags = {
            "harness.run_id": run.run_id,
            "label": run.label,
            "dataset": run.dataset,
            "seed": str(run.seed),
        }
        made = self._client.create_run(experiment, tags=tags, run_name=run.title)
        self._runs[run.run_id], self._last[run.run_id] = made.info.run_id, 0
        params = [Param(key, str(v)[:_PARAM_LENGTH]) for key, v in run.settings.items()]
        for i in range(0, len(params), _PARAMS):
            self._client.log_batch(made.info.run_id, params=params[i : i + _PARAMS])

    def epoch(self, run: LoggedRun, epoch: int, values: Mapping[str, float]) -> None:
        """See ``Logger.epoch``."""
        self._log(run, values, epoch)
        self._last[run.run_id] = epoch

    def end(self, run: LoggedRun, status: EndStatus, record: RunRecord | None) -> None:
        """See ``Logger.end``."""
        if record is not None:
            self._log(run, record_values(record), self._last[run.run_id])
            texts = record_texts(record)
            tags = [RunTag(f"harness.{key}", text[:_TAG_LENGTH]) for key, text in texts.items()]
            for i in range(0, len(tags), _PARAMS):
                self._client.log_batch(self._runs[run.run_id], tags=tags[i : i + _PARAMS])
        self._client.set_tag(self._runs[run.run_id], "harness.status", status)
        self._client.set_terminated(self._runs.pop(run.run_id), _STATUS.get(status, "FINISHED"))
        del self._last[run.run_id]

    def close(self) -> None:
        """See ``Logger.close``."""
        for run_id in self._runs.values():
            self._client.set_terminated(run_id, "KILLED")

    def _experiment(self, name: str) -> str:
        """Return the id of the experiment of a suite."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return str(self._client.create_experiment(name))
        # MLflow would make a folder mlruns where the command was started.
        place = (self.folder / "artifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=place))

    def _log(self, run: LoggedRun, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            Metric(name.replace("@", "_at_"), value, now, step)  # MLflow refuses "@"
            for name, value in values.items()
        ]
        for i in range(0, len(metrics), _METRICS):
            self._client.log_batch(self._runs[run.run_id], metrics=metrics[i : i + _METRICS])
