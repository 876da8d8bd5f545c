"""Field masks of the update calls: which fields a request may change, and the change itself."""

from collections.abc import Iterable

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from local.pubsub.errors import InvalidArgument


def merge(mask: FieldMask, source: Message, target: Message, changeable: Iterable[str]) -> None:
    """Replaces in `target` exactly the fields that the mask names.

    Raises InvalidArgument for an empty mask, a path that does not exist, and a field that cannot be changed.
    """
    if not mask.paths:
        raise InvalidArgument("The update_mask must be set, and must contain a non-empty paths list.")
    allowed = set(changeable)
    for path in mask.paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(target.DESCRIPTOR):
            raise InvalidArgument(f"Invalid update_mask provided: unknown path {path}.")
        if path.split(".")[0] not in allowed:
            raise InvalidArgument(f"Invalid update_mask provided: {path} is not a mutable field.")
    mask.MergeMessage(source, target, replace_message_field=True, replace_repeated_field=True)
