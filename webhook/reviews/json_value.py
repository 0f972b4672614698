"""JSON that is read only as far as a decision needs it.

As Python objects, a body of 8 MiB takes hundreds of MiB. So a value stays text until it is asked for something, and
each question has a bound, which is checked before anything is made. `null` is the absence of a member everywhere, as
in the API: no question distinguishes the two.
"""

import threading
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from exectrail.contracts.cut import cut_mark

_MESSAGE_CHARACTERS = 200
NAME_BYTES = 256
"""More than any name of an object has (253)."""
_MAPPING_BYTES = 256 << 10

T = TypeVar("T")


class BadReview(Exception):
    """A body that is no AdmissionReview v1, or whose object is not of the kind its request says."""

    def __init__(self, why: str) -> None:
        super().__init__(why if len(why) <= _MESSAGE_CHARACTERS else f"{why[: _MESSAGE_CHARACTERS - 3]}...")


class TooLarge(Exception):
    """A value has more in it than is read of its kind; the message is what is kept in its place."""


class Most(NamedTuple):
    """How much is read of a list of words."""

    words: int
    characters: int


FEW = Most(words=16 << 10, characters=128 << 10)
"""What anything but an exec's command may have."""


class Budget:
    """How many objects are read of one request's lists, all together, and how many sessions come of them."""

    def __init__(self, objects: int = 10_000, sessions: int = 128) -> None:
        self._objects, self._sessions = objects, sessions

    def take(self, *, objects: int = 0, sessions: int = 0) -> None:
        """Count some more.

        Raises:
            TooLarge: There were too many.

        """
        self._objects -= objects
        self._sessions -= sessions
        if self._objects < 0 or self._sessions < 0:
            raise TooLarge("more objects or containers than are read")


class Value(Struct, frozen=True):
    """A value in a review that is not decoded yet, and its path there.

    All methods raise `BadReview` where it is of another type; the message has the path.
    """

    raw: Raw
    path: str

    @property
    def absent(self) -> bool:
        """Whether it is not there, or `null`."""
        return self.raw == _NULL

    def members(self, *names: str) -> list["Value"]:
        """The members of an object by their names; nothing has none."""
        if self.absent:
            return [Value(_NULL, f"{self.path}.{name}") for name in names]
        found = _read(_object(names), self.raw, self.path)
        return [Value(raw, f"{self.path}.{name}") for name, raw in zip(names, _raws(found), strict=True)]

    def required(self, type_: str = "object") -> "Value":
        """Itself; a `BadReview` where it is absent."""
        if self.absent:
            raise BadReview(f"Expected `{type_}`, got `null` - at `{self.path}`")
        return self

    def mapping(self) -> dict[str, str]:
        """An object of words, such as labels; nothing has none.

        Raises:
            TooLarge: It has more in it than is read of labels.

        """
        if self.absent:
            return {}
        if len(self.raw) > _MAPPING_BYTES:
            raise TooLarge(cut_mark(len(self.raw), 1))
        return {key: word for key, word in _read(_mapping, self.raw, self.path).items() if word is not None}

    def objects(self, budget: Budget, *names: str) -> list[list["Value"]]:
        """Of each object in a list the members of these names.

        Raises:
            TooLarge: The budget does not suffice.

        """
        if self.absent:
            return []
        _spending.budget = budget
        found = _read(_objects(names), self.raw, self.path)
        return [
            [Value(raw, f"{self.path}[{index}].{name}") for name, raw in zip(names, _raws(each), strict=True)]
            for index, each in enumerate(found)
        ]

    def text(self, most: int = NAME_BYTES) -> str:
        """A word; "" where there is none, and a marker in place of one that takes more than `most` bytes."""
        if self.absent:
            return ""
        if len(self.raw) > most + 2 and memoryview(self.raw)[0] == ord('"'):
            return cut_mark(len(self.raw) - 2, 1)
        return _read(_text, self.raw, self.path)

    def flag(self) -> bool:
        """A yes or no; no where there is none."""
        return not self.absent and _read(_flag, self.raw, self.path)

    def words(self, most: Most = FEW) -> list[str]:
        """A list of words.

        Raises:
            TooLarge: It has more.

        """
        if self.absent:
            return []
        if len(self.raw) > 6 * most.characters + 3 * most.words:  # of which each character is an escape, with commas
            raise TooLarge(cut_mark(len(self.raw), bytes(self.raw).count(b'"') // 2))
        if len(self.raw) > min(2 * most.words, most.characters):  # a word takes two bytes at least
            has = _count(self.raw)
            if has.words > most.words or has.characters > most.characters:
                raise TooLarge(cut_mark(len(self.raw), has.words))
        return _read(_words, self.raw, self.path)

    def some_words(self, most: Most = FEW) -> list[str]:
        """The same; a marker in place of a list that is too large."""
        try:
            return self.words(most)
        except TooLarge as error:
            return [str(error)]


def _count(raw: Raw) -> Most:
    """How many strings a value has, and at most how many characters, without decoding it."""
    data = bytes(raw).replace(b"\\\\", b"_")  # each backslash that is left begins an escape
    quotes = data.count(b'"') - data.count(b'\\"')
    return Most(quotes // 2, len(data) - len(r"u1234") * data.count(b"\\u"))


_NULL = Raw(b"null")
NOTHING = Value(_NULL, "$")
"""What is not there."""

_raws = msgspec.structs.astuple
_text = msgspec.json.Decoder(str)
_flag = msgspec.json.Decoder(bool)
_words = msgspec.json.Decoder(list[str])
_mapping = msgspec.json.Decoder(dict[str, str | None])


class _Spending(threading.local):
    budget = Budget(0)


_spending = _Spending()


def _spend(_made: object) -> None:
    _spending.budget.take(objects=1)


@lru_cache
def _object(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(names, {}))


@lru_cache
def _objects(names: tuple[str, ...]) -> msgspec.json.Decoder[list[Any]]:
    # A list's length could be checked only once all of it is made: so each object asks as soon as it is.
    struct = _struct(names, {"__post_init__": _spend})
    return msgspec.json.Decoder(list[struct])  # type: ignore[valid-type] # known only now


def _struct(names: tuple[str, ...], namespace: dict[str, Any]) -> type[Struct]:
    fields = [(f"member_{number}", Raw, msgspec.field(default=_NULL, name=name)) for number, name in enumerate(names)]
    return msgspec.defstruct("Object", fields, namespace=namespace, frozen=True)


def _read(decoder: msgspec.json.Decoder[T], raw: Raw, path: str) -> T:
    try:
        return decoder.decode(raw)
    except RecursionError:
        raise BadReview(f"nested too deeply - at `{path}`") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error).replace("`$", f"`{path}")
        raise BadReview(reason if path in reason else f"{reason} - at `{path}`") from error
