"""Times to the messages that hold them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(time: datetime) -> Timestamp:
    """The message of a time."""
    message = Timestamp()
    message.FromDatetime(time)
    return message
