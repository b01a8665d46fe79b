"""The tables of sweeps; `migrations/` creates and changes them.

sweep 1─n sweep_block    one per block of rows; its state is the newest checkpoint, dropped when the sweep succeeds
      1─n sweep_curve    pieces of a block's trajectories, appended at checkpoints
      1─n sweep_result   one per objective and setting, written when it is done
      1─n sweep_ranking  one per objective with a reference
      1─n sweep_real     one per objective with targets in quantiles: the real activations that these are of, rising

A sweep that runs is leased to one process; what that process writes is refused once another holds the lease.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from earwitness.storage.columns import NAMING_CONVENTION, Key, Name

metadata = MetaData(naming_convention=NAMING_CONVENTION)


def _sweep_key() -> Column[int]:
    return Column("sweep_key", Key, ForeignKey("sweep.key", ondelete="CASCADE"), nullable=False, primary_key=True)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, primary_key=True, autoincrement=False)


sweep = Table(
    "sweep",
    metadata,
    Column("key", Key, primary_key=True),
    Column("sweep_id", Name, nullable=False, unique=True),
    Column("request_id", String(36), nullable=False, unique=True),
    Column("request", LargeBinary, nullable=False),
    Column("model", Name, nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("block_rows", Integer, nullable=False),
    Column("state", String(9), nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("error", LargeBinary, nullable=True),
    Column("sequence", BigInteger, nullable=False),
    Column("row_steps_done", BigInteger, nullable=False),
    Column("row_step_count", BigInteger, nullable=False),
    Column("results_done", Integer, nullable=False),
    Column("result_count", Integer, nullable=False),
    Column("row_steps_per_second", Double, nullable=False),
    Column("waiting_for", Text, nullable=False),
    Column("search_us", BigInteger, nullable=False),
    Column("create_time_us", BigInteger, nullable=False),
    Column("update_time_us", BigInteger, nullable=False),
    Column("end_time_us", BigInteger, nullable=True),
    Column("lease", String(36), nullable=True),
    Column("lease_end_us", BigInteger, nullable=True),
    Column("traceparent", String(55), nullable=True),
    # The queue is read from it every second.
    Index(None, "state", "key"),
    sqlite_autoincrement=True,
)

block = Table(
    "sweep_block",
    metadata,
    _sweep_key(),
    _number("number"),
    Column("row_steps_done", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=True),
)

curve = Table(
    "sweep_curve",
    metadata,
    _sweep_key(),
    _number("block"),
    _number("first_step"),
    Column("body", LargeBinary, nullable=False),
)

result = Table(
    "sweep_result",
    metadata,
    _sweep_key(),
    _number("number"),
    Column("rows", LargeBinary, nullable=False),
    Column("tensors", LargeBinary, nullable=False),
)

ranking = Table(
    "sweep_ranking",
    metadata,
    _sweep_key(),
    _number("objective"),
    Column("body", LargeBinary, nullable=False),
)

real = Table(
    "sweep_real",
    metadata,
    _sweep_key(),
    _number("objective"),
    Column("body", LargeBinary, nullable=False),
)
