"""Runs the trials of several searches, round by round, and keeps what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.events import OnEvent
from harness.run.events import RunsSkipped, TrialEnded
from harness.run.jobs import Job, Outcome
from harness.run.scheduler import Summary
from harness.store.base import ResultStore
from harness.store.records import RunRecord
from harness.studies.study import SearchStudy, Trial
from harness.training.loop import falls_short

__all__ = ["Execute", "MakeJobs", "Report", "run_rounds"]

MakeJobs = Callable[[Trial, SearchStudy], Mapping[int, Job]]
"""Returns a trial's jobs by seed, in the order of the seeds."""

Execute = Callable[[Sequence[Job]], Summary]
"""Executes jobs but those whose results are there, and adds their records to the store."""


@dataclass
class _Begun:
    search: SearchStudy
    trial: Trial
    jobs: Mapping[int, Job]

    @property
    def first(self) -> Job:
        return next(iter(self.jobs.values()))

    @property
    def prunes(self) -> bool:
        return self.search.search.study.pruner != "none"


@dataclass
class Report:
    """Outcome of a call that runs a study.

    Attributes:
        interrupted: asked to stop before it was complete.
        failed: runs that failed in this call.
    """

    interrupted: bool = False
    failed: list[Outcome] = field(default_factory=list)


def run_rounds(
    searches: Sequence[SearchStudy],
    store: ResultStore,
    make_jobs: MakeJobs,
    execute: Execute,
    *,
    width: int,
    should_stop: Callable[[], bool],
    on_round: Callable[[], None],
    on_event: OnEvent,
) -> Report:
    """Make the trials that the searches still want.

    With a pruner the first seed of a trial runs first; the others follow if it is not pruned.

    Args:
        searches: their rounds run side by side.
        store: gets the records, and is asked for those of finished runs.
        make_jobs: makes a trial's jobs.
        execute: executes jobs.
        width: trials of a search that run side by side where none looks at the others; as many as
            there are workers, so that trials end as the study goes on.
        should_stop: asked between rounds.
        on_round: called when a round's trials are known, and when they have ended.
        on_event: receives TrialEnded and RunsSkipped.
    """
    report = Report()
    while not should_stop():
        begun = [
            _Begun(search, trial, make_jobs(trial, search))
            for search in searches
            for trial in search.next_round(width)
        ]
        if not begun:
            return report
        for item in begun:
            ids = {seed: job.run_id for seed, job in item.jobs.items()}
            item.search.begin(item.trial, ids)
        on_round()
        messages: dict[str, str] = {}
        executed: set[str] = set()
        for stage in (_first, _rest):
            jobs = {job.run_id: job for job in stage(begun, store)}
            executed |= set(jobs)
            summary = execute(list(jobs.values()))
            report.failed += summary.failed
            messages |= {outcome.run_id: outcome.message for outcome in summary.failed}
            if summary.interrupted or should_stop():
                break
        else:
            # By id, since two trials of a round may share a run.
            if skipped := {j.run_id for item in begun for j in item.jobs.values()} - executed:
                on_event(RunsSkipped(len(skipped), "of trials pruned, failed or run by another"))
            for item in begun:
                _end(item, store, messages, on_event)
            on_round()
            continue
        break
    report.interrupted = True
    return report


def _first(begun: Sequence[_Begun], store: ResultStore) -> list[Job]:
    """Return the jobs to run first: all seeds, or with a pruner the first seed of each trial.

    A trial that the same limits have pruned before is left out.
    """
    first_jobs: list[Job] = []
    for item in begun:
        if not item.prunes:
            first_jobs += item.jobs.values()
            continue
        limits, stored = item.search.limits(), store.find(ids=[item.first.run_id])
        if not any(r.status == "pruned" and falls_short(r.history, limits) for r in stored):
            first_jobs.append(item.first.model_copy(update={"limits": limits}))
    return first_jobs


def _rest(begun: Sequence[_Begun], store: ResultStore) -> list[Job]:
    """Return the other seeds of the trials whose first has been validated."""
    statuses = store.statuses()
    return [
        job
        for item in begun
        if item.prunes and statuses.get(item.first.run_id) in ("ok", "validated")
        for job in list(item.jobs.values())[1:]
    ]


def _end(item: _Begun, store: ResultStore, messages: Mapping[str, str], on_event: OnEvent) -> None:
    ids = [job.run_id for job in item.jobs.values()]
    stored = {record.run_id: record for record in store.find(ids=ids)}
    records: list[RunRecord | None] = [stored.get(run_id) for run_id in ids]
    message = next((messages[run_id] for run_id in ids if run_id in messages), "")
    item.search.end(item.trial, records, message)
    frozen = item.search.study.get_trials(deepcopy=False)[item.trial.number]
    best = item.search.best()
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(frozen.state.name, "failed")
    value = frozen.value if state == "complete" else None
    on_event(
        TrialEnded(
            item.search.search.title,
            item.trial.number,
            state,
            value,
            best.value if best else None,
            best.number if best else None,
        )
    )
