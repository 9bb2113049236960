"""The relay and its files: attempts, messages, what a node must agree with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.data.load import load_graph
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.run.cluster import attempts
from harness.run.cluster.folder import new_submission
from harness.run.cluster.mailbox import MAILBOX, MailboxReader, MailboxWriter
from harness.run.cluster.relay import Assignment, assignment_of, relay
from harness.run.jobs import Attempt, Job, Outcome
from harness.run.processes import ProcessExecutor
from harness.store.files import read_record
from tests.toys import SMALL

ATTEMPT = Attempt(engine="slurm", node="n1", number=1, task="7")


def make_job(home: Path, epochs: int = 2, run_id: str = "") -> Job:
    spec = RunSpec.model_validate(
        {
            "model": {"name": "transe", "dim": 4},
            "data": {"dataset": SMALL},
            "training": {"epochs": epochs},
        }
    )
    catalog.load_models()
    run_id = run_id or run_id_of(spec, load_graph(spec.data.dataset).digest, "")
    return Job(run_id=run_id, label="transe", spec=spec, home=home, device="cpu", threads=1)


def make_assignment(job: Job, **changes: Any) -> Assignment:
    assignment = assignment_of(job, "command", new_submission(job.home, [job]), 3)
    return assignment.model_copy(update=changes)


def executed(assignment: Assignment) -> tuple[Outcome, list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []

    def make_forward(first: dict[str, Any]) -> Any:
        messages.append(first)
        return messages.append

    return relay(assignment, ATTEMPT, make_forward, lambda: False), messages


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


def test_a_run_is_executed_and_says_where(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    outcome, messages = executed(make_assignment(job))
    assert (outcome.status, outcome.node, outcome.attempt) == ("ok", "n1", 1)
    kinds = [m["kind"] for m in messages if m["kind"] != "activity"]
    assert kinds[:5] == ["attempt", "stage", "stage", "stage", "epoch"]
    stages = [m["stage"] for m in messages if m["kind"] == "stage"]
    assert stages[:3] == ["start", "load", "train"]
    record = read_record(job.folder / "record.json")
    assert record.provenance["execution"] == ATTEMPT.model_dump()


def test_another_version_of_the_harness_is_refused(tmp_path: Path) -> None:
    outcome, messages = executed(make_assignment(make_job(tmp_path), version="0.0.1"))
    assert outcome.status == "lost"
    assert "node n1 has version" in outcome.message
    assert "the submitting machine 0.0.1: install the same" in outcome.message
    assert messages == []


@pytest.mark.parametrize("nonce", ["another", ""])
def test_a_node_that_does_not_see_the_results_folder_writes_nothing(
    nonce: str, tmp_path: Path
) -> None:
    job = make_job(tmp_path)
    outcome, _ = executed(make_assignment(job, nonce=nonce or "x", submission="not-there"))
    assert outcome.status == "lost"
    assert f"node n1 does not see the results folder {tmp_path}" in outcome.message
    assert not job.folder.exists()


def test_other_data_or_code_on_the_node_are_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path, run_id="0123456789ab")
    outcome, _ = executed(make_assignment(job))
    assert outcome.status == "failed"
    assert "not those that it was planned with" in outcome.message
    assert not (job.folder / "record.json").exists()


def test_a_lack_of_this_node_is_no_failure_of_the_run(tmp_path: Path) -> None:
    job = make_job(tmp_path).model_copy(update={"device": "cuda:99"})
    outcome, _ = executed(make_assignment(job))
    assert outcome.status == "lost"
    assert "this machine has" in outcome.message


def test_a_run_is_given_up_after_attempts_without_a_further_epoch(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    for _ in range(3):
        attempts.begin(job, ATTEMPT, "command")
    outcome, _ = executed(make_assignment(job))
    assert outcome.status == "lost"
    assert "given up: 3 attempts ended without a checkpoint after epoch 0" in outcome.message
    assert f"harness runs log {job.run_id}" in outcome.message


def test_attempts_with_progress_or_of_another_command_do_not_count(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    counts = []
    for command, epoch in [("a", 0), ("a", 0), ("a", 5), ("a", 5), ("b", 5)]:
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "state.json").write_text(f'{{"epoch": {epoch}}}')
        attempt, fruitless = attempts.begin(job, ATTEMPT, command)
        counts.append((attempt.number, fruitless))
    assert counts == [(1, 0), (2, 1), (3, 0), (4, 1), (5, 0)]


def test_a_line_of_attempts_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    attempts.begin(job, ATTEMPT, "command")
    with (job.folder / attempts.ATTEMPTS).open("a") as file:
        file.write('{"attempt": {"eng')
    assert len(attempts.read(job.folder)) == 1


def test_the_log_of_the_attempt_before_is_kept(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    attempts.begin(job, ATTEMPT, "command")
    (job.folder / "stderr.log").write_text("why it ended\n")
    executed(make_assignment(job))
    assert (job.folder / "stderr-1.log").read_text() == "why it ended\n"


def test_a_run_whose_folder_is_locked_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = iter(["busy", "busy", "ok"])

    def run(self: Any, jobs: Any, *_: Any) -> Any:
        yield Outcome(run_id=jobs[0].run_id, status=next(statuses))

    monkeypatch.setattr(ProcessExecutor, "run", run)
    monkeypatch.setattr("harness.run.cluster.relay.BUSY_PAUSE_S", 0.01)
    assert executed(make_assignment(make_job(tmp_path)))[0].status == "ok"
    statuses = iter(["busy"] * 9)
    monkeypatch.setattr("harness.run.cluster.relay.BUSY_SECONDS", 0.0)
    assert executed(make_assignment(make_job(tmp_path)))[0].status == "busy"


# --- messages -----------------------------------------------------------------------------


def test_messages_are_read_once_and_in_order(tmp_path: Path) -> None:
    reader = MailboxReader(tmp_path)
    assert reader.read() == []
    writer = MailboxWriter(tmp_path, {"n": 0})
    writer.write({"n": 1})
    assert reader.read() == [{"n": 0}, {"n": 1}]
    assert reader.read() == []
    writer.write({"n": 2})
    writer.close()
    assert reader.read() == [{"n": 2}]


def test_a_new_attempt_is_read_from_its_first_message(tmp_path: Path) -> None:
    reader = MailboxReader(tmp_path)
    for attempt in range(3):
        writer = MailboxWriter(tmp_path, {"attempt": attempt})
        writer.write({"more": "x" * (10 - attempt)})
        writer.close()
        assert reader.read()[0] == {"attempt": attempt}


def test_an_attempt_that_nobody_read_does_not_hide_the_next(tmp_path: Path) -> None:
    """The file system gives the file of the third attempt the number of the first one's."""
    reader = MailboxReader(tmp_path)
    MailboxWriter(tmp_path, {"attempt": 1, "more": "x" * 100}).close()
    assert [message["attempt"] for message in reader.read()] == [1]
    for attempt in (2, 3):
        MailboxWriter(tmp_path, {"attempt": attempt, "more": "x" * 200}).close()
    assert [message["attempt"] for message in reader.read()] == [3]


def test_the_same_words_in_a_shorter_file_are_those_of_a_new_attempt(tmp_path: Path) -> None:
    reader = MailboxReader(tmp_path)
    writer = MailboxWriter(tmp_path, {"attempt": 1})
    writer.write({"n": 1})
    writer.close()
    assert len(reader.read()) == 2
    MailboxWriter(tmp_path, {"attempt": 1}).close()
    assert reader.read() == [{"attempt": 1}]


def test_a_message_of_which_a_network_disk_shows_zeros_is_read_later(tmp_path: Path) -> None:
    reader = MailboxReader(tmp_path)
    MailboxWriter(tmp_path, {"n": 0}).close()
    path = tmp_path / MAILBOX
    path.write_bytes(b'{"n": 0}\n' + bytes(8) + b'\n{"n": 2}\n')
    assert reader.read() == [{"n": 0}]
    path.write_bytes(b'{"n": 0}\n{"n": 1}\n{"n": 2}\n')
    assert reader.read() == [{"n": 1}, {"n": 2}]


def test_half_a_message_waits_for_its_other_half(tmp_path: Path) -> None:
    writer, reader = MailboxWriter(tmp_path, {"n": 0}), MailboxReader(tmp_path)
    with writer._file as file:
        file.write('{"n":')
        file.flush()
        assert reader.read() == [{"n": 0}]
        file.write(" 1}\n")
        file.flush()
        assert reader.read() == [{"n": 1}]


def test_reading_while_writing_loses_nothing(tmp_path: Path) -> None:
    reader, messages = MailboxReader(tmp_path), []

    def write() -> None:
        writer = MailboxWriter(tmp_path, {"n": 0})
        for n in range(1, 2000):
            writer.write({"n": n})
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        messages += reader.read()
    thread.join()
    messages += reader.read()
    assert [m["n"] for m in messages] == list(range(2000))
