"""What the processes say to each other is read as it was written, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from gpujobs.errors import NotFoundError, UsageError
from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Process, Reason, State, StopReason
from gpujobs.protocol import boxes, codec, events, head, launcher, records, telling, training
from gpujobs.protocol import instructions as told
from gpujobs.protocol.codec import Message, ShapeError
from gpujobs.protocol.reading import Reading, ReadingStatus
from gpujobs.protocol.records import AttemptKey, ProcessId, SupervisorRecord, Wishes
from gpujobs.protocol.settings import NodeSettings
from gpujobs.protocol.spec import CheckSpec
from tests.specs import attempt_spec, check_json, data_file, exit_record, spec_json

KEY = AttemptKey(7, 1, "3f")
BLOB = boxes.Blob(1000, "00", 7)
FILE = boxes.TreeFile("model.keras", "00", 7)
SETTINGS = NodeSettings("n", "/s", None, 5.0, "9a", "9a")
CHECK = codec.parse(CheckSpec, check_json(spec_json()))
INSTRUCTIONS: tuple[telling.Instruction[Any], ...] = (
    told.Probe(),
    told.Ping(),
    told.Start(attempt_spec(), 15.0, None, None, (), None),
    told.Start(attempt_spec(), 15.0, boxes.Alive("boot", 3.5), KEY, (KEY, KEY), boxes.Brought((FILE,), ())),
    told.Release(KEY),
    told.Stop(KEY, StopReason.CANCEL, "x"),
    told.Adjust(KEY, Wishes(True, None)),
    told.Reconcile((KEY,)),
    boxes.Renew("boot", None),
    boxes.Renew("boot", 3.5),
    boxes.Prepare("alice", 1000, (BLOB,), 1 << 30),
    boxes.Deliver(BLOB, "/s/data", "00", 1000),
    boxes.Compare("alice", attempt_spec().identity, (data_file("/d/x.npz", "00"),)),
    boxes.MeasureDisk(),
    boxes.ListKept(),
    boxes.DropData((BLOB,)),
    boxes.Survey(KEY, 9, boxes.Leavings.CHECKPOINT),
    boxes.Expel("box2"),
    boxes.Rekey(),
    boxes.BringHome(boxes.Survey(KEY, 9, boxes.Leavings.ALL), "/d"),
    told.FindStrays((KEY, KEY)),
    told.ReadLog(7, 1, 0, 9),
    told.ListResults(7, 1),
    told.ReadResult(7, 1, "a.npz", 0, 9),
    told.Collect(KEY, 1, "/d"),
    told.Inspect(CHECK, 1.0),
    told.AskLauncher(1.0),
    told.Forget(7),
)
EVENTS: tuple[events.AttemptEvent, ...] = (
    events.Started(7, 1, "3f", 99, "2026-01-01T00:00:00Z"),
    events.Progressed(7, 1, "3f", {"epoch": 1, "loss": 0.5, "eta_seconds": None}),
    events.Logged(7, 1, "3f", 0),
    events.Warned(7, 1, "3f", "soon"),
    events.Exited(7, 1, "3f", exit_record({"state": "COMPLETED"}, key=KEY), stays=False),
    events.Exited(7, 1, "3f", exit_record({"state": "COMPLETED"}, key=KEY), stays=True),
    events.Unclear(7, 1, "3f"),
)
RECORD = SupervisorRecord(
    boot_id="b",
    nonce="3f",
    state_id="9a",
    supervisor=ProcessId(1, 2),
    trainer=ProcessId(3, 4),
    cgroup=None,
    started_at="2026-01-01T00:00:00Z",
    trainer_of=None,
    hears_wishes=True,
)


def through(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_every_instruction_and_every_event_is_tried_here() -> None:
    assert {type(one) for one in INSTRUCTIONS} == set(told.INSTRUCTIONS.kinds)
    assert {type(one) for one in EVENTS} == set(events.ATTEMPT_EVENTS.kinds)


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.tag)
def test_an_instruction_arrives_whole(instruction: telling.Instruction[Any]) -> None:
    request = head.Request(3, "n", instruction)
    assert head.request_of(through(head.write_request(request))) == request


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.tag)
def test_an_instruction_that_lacks_a_field_or_has_one_too_many_is_refused(
    instruction: telling.Instruction[Any],
) -> None:
    written = through(head.write_request(head.Request(3, "n", instruction)))
    for field in fields(instruction):
        lacking = {key: value for key, value in written["args"].items() if key != field.name}
        with pytest.raises(ShapeError, match=f"{instruction.tag}: {field.name} is missing"):
            head.request_of({**written, "args": lacking})
    with pytest.raises(ShapeError, match=f"{instruction.tag}: more is unknown"):
        head.request_of({**written, "args": {**written["args"], "more": 1}})


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: one.tag)
def test_an_event_arrives_whole(event: events.AttemptEvent) -> None:
    assert head.line_of(through(head.write_line(event))) == event
    assert events.attempt_event_of(json.dumps(events.write_attempt_event(event)).encode()) == event


@pytest.mark.parametrize(
    "datagram",
    [
        b"", b"[]", b"{}", b"\xff", b"[" * 60000, b'{"what": "log"}',
        b'{"event": "attempt", "what": "log", "job": 1, "attempt": 1, "size": -1}',
        b'{"event": "attempt", "what": "eaten", "job": 1, "attempt": 1}',
        b'{"event": "attempt", "what": "progress", "job": 1, "attempt": 1, "progress": {"loss": NaN}}',
        b'{"event": "attempt", "what": "progress", "job": 1, "attempt": 1, "progress": {"loss": "x"}}',
        b'{"event": "attempt", "what": "exited", "job": 1, "attempt": 1, "exit": {"state": "RUNNING"}}',
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(datagram: bytes) -> None:
    with pytest.raises(ShapeError):
        events.attempt_event_of(datagram)


@pytest.mark.parametrize(
    "line",
    [
        events.NodeReported("n", NodeStatus.DOWN, "x"),
        events.HeadFailed("x"),
        events.DoorReported("x"),
        head.Answer(3, {"found": True}),
    ],
    ids=str,
)
def test_a_line_of_the_head_arrives_whole(line: head.Line) -> None:
    assert head.line_of(through(head.write_line(line))) == line


@pytest.mark.parametrize("kind", [UsageError, NotFoundError])
def test_an_error_of_an_agent_arrives_as_what_it_is(kind: type[UsageError]) -> None:
    line = head.line_of(through(head.write_line(head.Refusal(3, kind("x")))))
    assert isinstance(line, head.Refusal)
    assert (type(line.error), line.error.message) == (kind, "x")


PROCESS = Process(1, None, None, None)
DEVICE = Device("n", DeviceKind.GPU, 0, "GPU-0", "H", 80, 3, 97, 35, 60.5, (PROCESS,), None, ("xid",))
REPORT = told.Report(
    attempt=KEY,
    status=told.AttemptStatus.LOST,
    record=RECORD,
    progress={"epoch": 1},
    exit=records.without_one(KEY, Reason.SUPERVISOR_LOST, "x", costs_retry=False),
    damaged=("a",),
    error="",
)


@pytest.mark.parametrize(
    "message",
    [
        told.Probed(Node("n", NodeStatus.OK, "", (DEVICE,))),
        Reading(ReadingStatus.OK, "", (DEVICE,)),
        told.Reports((REPORT,)),
        told.Piece.of(b"\x00\xff", 2),
        told.Collected((told.CollectedFile("a", 1, "00"),)),
        launcher.Versions(1, {"keras": "3"}),
        launcher.StartAttempt("/d", None),
        training.Deadline(None),
        SETTINGS,
        RECORD,
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert codec.parse(type(message), codec.encode(message)) == message


def test_a_node_is_not_told_half_of_its_settings() -> None:
    whole = codec.write(SETTINGS)
    for name in whole:
        with pytest.raises(ShapeError, match=f"{name} is missing"):
            codec.parse(NodeSettings, {key: value for key, value in whole.items() if key != name})


def test_an_exit_record_of_an_earlier_version_is_read() -> None:
    """As the version before wrote it: without what was added since."""
    earlier = {
        "job": 7, "attempt": 1, "state": "FAILED", "reason": "Signal", "message": "x",
        "exit": {"code": None, "signal": 9}, "ended_at": "2026-01-01T00:00:00Z", "progress": None,
    }  # fmt: skip
    record = records.exit_of(earlier)
    assert (record.state, record.nonce, record.stopped_for, record.costs_retry) == (
        State.FAILED,
        "",
        None,
        True,
    )
    datagram = {"event": "attempt", "what": "exited", "job": 7, "attempt": 1, "exit": earlier}
    assert events.attempt_event_of(datagram) == events.Exited(7, 1, "", record, stays=False)


def test_what_a_later_version_adds_to_a_record_is_passed_over() -> None:
    """Its trainers are adopted after a step back."""
    assert records.record_of({**codec.write(RECORD), "later": 1}) == RECORD
    ended = exit_record()
    assert records.exit_of({**codec.write(ended), "later": 1}) == ended


def test_a_record_of_an_earlier_version_hears_no_wishes() -> None:
    earlier = codec.write(RECORD)
    for name in ("hears_wishes", "cgroup", "nonce", "state_id"):
        del earlier[name]
    record = records.record_of(earlier)
    assert (record.hears_wishes, record.cgroup, record.nonce, record.state_id) == (False, None, "", "")
    assert record.trainer == ProcessId(3, 4)


def test_what_the_store_has_kept_of_an_end_need_not_be_all_of_it() -> None:
    kept = records.kept_of(KEY, {"state": "CANCELLED", "stopped_for": "preempt"})
    assert (kept.job, kept.nonce, kept.stopped_for) == (7, "3f", StopReason.PREEMPT)
    with pytest.raises(ShapeError, match="state is missing"):
        records.kept_of(KEY, {})


def test_a_later_version_may_say_more_at_any_depth_and_is_understood() -> None:
    """As a box does that is updated after the head's."""
    later = json.loads(
        json.dumps(told.written(told.Start(attempt_spec(), 15.0, boxes.Alive("boot", 3.5), None, (), None)))
    )
    later["args"]["new"] = {"a": 1}
    later["args"]["spec"]["new"] = [1]
    later["args"]["before"]["new"] = None
    assert told.instruction_of(later, known_only=True) == told.Start(
        attempt_spec(), 15.0, boxes.Alive("boot", 3.5), None, (), None
    )
    with pytest.raises(ShapeError, match="is unknown"):
        told.instruction_of(later)


def test_what_a_later_version_says_wrongly_or_alone_is_refused_all_the_same() -> None:
    later = {
        "call": "stop",
        "args": {"attempt": codec.write(KEY), "reason": "cancel", "message": 7, "new": 1},
    }
    with pytest.raises(ShapeError, match="message is 7"):
        told.instruction_of(later, known_only=True)
    with pytest.raises(ShapeError, match="call is 'invented'; expected one of"):
        told.instruction_of({"call": "invented", "args": {}}, known_only=True)
