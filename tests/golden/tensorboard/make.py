"""An event file as tensorboard writes it, read back by tensorboard's own reader.

tensorboard 2.21.0, protobuf 7.36.2 (benches/peers/requirements.txt). Run through scripts/golden.
"""

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = Path(__file__).parent
PATH = HERE / "events.out.tfevents.golden"


def scalars(wall_time, step, values):
    summary = Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values])
    return Event(wall_time=wall_time, step=step, summary=summary)


events = [
    Event(wall_time=1.5, file_version="brain.Event:2"),
    scalars(2.25, 0, [("loss/train", 8.125)]),
    scalars(3.5, 300, [("loss/train", -0.1), ("lr", 1e-4)]),
    scalars(1.7e9, 5_000_000_000, [("tokens_per_s", 3.4028234663852886e38)]),
]
with open(PATH, "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    writer.flush()

reader = EventAccumulator(str(PATH)).Reload()
values = {
    tag: [[e.wall_time, e.step, e.value] for e in reader.Scalars(tag)]
    for tag in reader.Tags()["scalars"]
}
(HERE / "values.json").write_text(json.dumps(values, indent=1) + "\n")
