"""Trajectories and training rows as Parquet files or ``datasets`` folders.

Decision: columns of plain types, so that every reader of Parquet understands them; what has no fixed shape (messages,
actions, answers) is a JSON string. Invariant: :func:`from_record` of a written record is the trajectory again. What
comes from a credentialed source is refused without a reason, which is written into the file (DESIGN decision 14).
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copilot.data.rows_file import read_rows
from copilot.data.store import read_trajectories
from copilot.data.trajectory import Trajectory
from copilot.envs.data_use import is_closed
from copilot.envs.sources.base import source_names
from copilot.errors import DataError
from copilot.version import SCHEMA_VERSION, __version__

if TYPE_CHECKING:
    import pyarrow

BATCH = 256
"""Records written together."""

ROW_COLUMNS = {
    "input_ids": "ids",
    "labels": "ids",
    "prompt_ids": "ids",
    "chosen_ids": "ids",
    "rejected_ids": "ids",
    "completion_ids": "ids",
    "chosen_mask": "mask",
    "rejected_mask": "mask",
    "completion_mask": "mask",
    "label": "bool",
    "task_id": "string",
    "attempt": "int",
    "kind": "string",
}
"""Column kinds of all row formats."""


def export_trajectories(stores: Sequence[str | Path], target: str | Path, *, data_use_reason: str = "") -> int:
    """Write stores as one Parquet file (``target`` ends in ``.parquet``) or a ``datasets`` folder.

    Args:
        stores: Shards or folders of trajectories.
        target: Written whole or not at all; an existing file is replaced, an existing folder refused.
        data_use_reason: Why data of credentialed sources may be exported; recorded in the file.

    Returns:
        How many trajectories were written.

    Raises:
        DataError: A store that cannot be read, or data that must stay home.
    """
    found = (_checked(t, t.source, t.task_id, data_use_reason) for store in stores for t in read_trajectories(store))
    return _write((to_record(trajectory) for trajectory in found), trajectory_schema(), Path(target), data_use_reason)


def export_rows(rows: str | Path, target: str | Path, *, data_use_reason: str = "") -> int:
    """Write a build stage's rows file; see :func:`export_trajectories`."""
    columns = next(read_rows(rows)).keys()
    found = (_checked(row, row["task_id"].split("/")[0], row["task_id"], data_use_reason) for row in read_rows(rows))
    return _write(found, _row_schema(columns), Path(target), data_use_reason)


def to_record(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as a row of :func:`trajectory_schema`."""
    record = trajectory.model_dump(mode="json")
    record["prompt"] = json.dumps(record["prompt"])
    record["versions"] = json.dumps(record["versions"])
    record["outcome"]["answer"] = json.dumps(record["outcome"]["answer"])
    for turn in record["turns"]:
        turn["action"] = json.dumps(turn["action"])
    return record


def from_record(record: Mapping[str, Any]) -> Trajectory:
    """The trajectory of a record that :func:`to_record` made."""
    plain = dict(record)
    plain["prompt"], plain["versions"] = json.loads(plain["prompt"]), json.loads(plain["versions"])
    plain["outcome"] = {**plain["outcome"], "answer": json.loads(plain["outcome"]["answer"])}
    plain["turns"] = [{**turn, "action": json.loads(turn["action"])} for turn in plain["turns"]]
    return Trajectory.model_validate(plain)


def trajectory_schema() -> "pyarrow.Schema":
    """Arrow schema of exported trajectories; the fields of :class:`Trajectory` under their names."""
    import pyarrow as pa

    text, whole, real, flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()
    feedback = pa.struct({"text": text, "status": text, "error_type": text, "truncated_chars": whole})
    turn = {"index": whole, "text": text, "action": text, "feedback": feedback, "attempt_correct": flag}
    turn |= {"prompt_tokens": whole, "completion_tokens": whole, "finish_reason": text, "policy_version": text}
    turn |= {"generate_seconds": real, "execute_seconds": real}
    span = pa.struct({"turn": whole, "start": whole, "end": whole})
    row = {"ids": pa.list_(pa.int32()), "mask": pa.list_(pa.int8()), "logprobs": pa.list_(real)}
    row |= {"temperature": real, "spans": pa.list_(span)}
    outcome = {
        "submitted": flag,
        "submitted_correct": flag,
        "any_attempt_correct": flag,
        "answer": text,
        "reason": text,
    }
    special = {
        "schema_version": whole,
        "attempt": whole,
        "seed": whole,
        "forks": whole,
        "started_at": real,
        "seconds": real,
        "turns": pa.list_(pa.struct(turn)),
        "rows": pa.list_(pa.struct(row)),
        "outcome": pa.struct(outcome),
        "failure": pa.struct({"boundary": text, "message": text}),
    }
    return pa.schema({name: special.get(name, text) for name in Trajectory.model_fields})


def _row_schema(columns: Iterable[str]) -> "pyarrow.Schema":
    import pyarrow as pa

    kinds = {
        "ids": pa.list_(pa.int32()),
        "mask": pa.list_(pa.int8()),
        "bool": pa.bool_(),
        "string": pa.string(),
        "int": pa.int64(),
    }
    return pa.schema({name: kinds[ROW_COLUMNS[name]] for name in columns})


def _checked(item: Any, source: str, task_id: str, reason: str) -> Any:
    """The item, if its task's data may leave the house."""
    if not reason and is_closed(source, task_id):
        known = "is under a data use agreement" if source in source_names() else "is unknown here"
        raise DataError(
            f"source {source!r} {known}; its data is not exported",
            remedy="leave it out, or give the reason why it may be exported (--data-use-reason)",
        )
    return item


def _write(records: Iterator[dict[str, Any]], schema: "pyarrow.Schema", target: Path, reason: str) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".parquet":
        return _write_parquet(records, schema, target, reason)
    if target.exists():
        raise DataError("the folder to export to is there already", where=target, remedy="name a new folder")
    from datasets import Dataset

    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        count = _write_parquet(records, schema, Path(scratch) / "data.parquet", reason)
        dataset = Dataset.from_parquet(str(Path(scratch) / "data.parquet"), cache_dir=str(Path(scratch) / "cache"))
        dataset.save_to_disk(str(Path(scratch) / "out"))
        (Path(scratch) / "out").rename(target)
    return count


def _write_parquet(records: Iterator[dict[str, Any]], schema: "pyarrow.Schema", target: Path, reason: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    note = {"med_copilot": __version__, "schema_version": SCHEMA_VERSION, "data_use_reason": reason}
    schema = schema.with_metadata({"med_copilot": json.dumps(note)})
    part, count = target.with_name(target.name + ".part"), 0
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while batch := list(islice(records, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    part.replace(target)
    return count
