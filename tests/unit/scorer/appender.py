"""A process that appends the shards 0 ... N - 1 to references/r and prints each number once it is acknowledged."""

import sys

from earwitness.scorer.store import ReferenceStore
from earwitness.storage.database import Database
from tests.unit.scorer.fixtures import shard_of

url, count = sys.argv[1], int(sys.argv[2])
store = ReferenceStore(Database(url))
reference = store.get("r")
for index in range(count):
    store.add_shard(reference, *shard_of(index))
    print(index, flush=True)
