"""What an OpenAI-compatible server means by a refusal: which parameter it minds, or that the prompt is too long.

Servers say so in a field (`param`, `loc`), in a code, or in a sentence, each in its own words. Nothing here asks a
server: words in, meaning out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from agentrm_models.http_failures import StatusError

Parameter: TypeAlias = Literal["logprobs", "seed", "top_p", "n", "stop", "max_tokens", "temperature"]
"""What a request can do without, the least harmful first; `max_tokens` stands for the limit by any of its names."""

PARAMETERS: tuple[Parameter, ...] = get_args(Parameter)

LIMITS = ("max_tokens", "max_completion_tokens")
"""Names of the limit of a reply, in the order in which they are tried."""

REFUSING = frozenset({400, 404, 405, 406, 413, 415, 422, 424, 500, 501})
"""Statuses whose words are read: the server does not want the request as it is, or stumbles over it."""

UNNAMED = frozenset({400, 422})
"""Statuses of requests that may be refused for a parameter that nobody names."""

_TOO_LARGE = 413
_LIST_OF_KNOWN = re.compile(
    r"(?<!not )(?<!un)\b(?:supported|allowed|valid|known|expected|accepted|available|permitted)\b"
    r"[\w\s]*(?:\bare\b|\binclude|:).*",
    re.DOTALL,
)
_NAMES: dict[Parameter, re.Pattern[str]] = {
    "logprobs": re.compile(r"log[_\s-]?prob"),
    "seed": re.compile(r"\bseed(?:s|ing|ed)?\b|determinis"),
    "top_p": re.compile(r"top[_\s-]?p\b|nucleus|sampling param"),
    "n": re.compile(
        r"['\"`]n['\"`]|(?<![\w'])n\s*(?:>|=|!|<|:|\bmust|\bis\b|\bparam|\bfield|\bcannot|\bshould|\bgreater|\blarger)"
        r"|\b(?:param\w*|field|argument|option)s?:?\s+n\b|\bbest_of\b|num_return|candidate_?count"
        r"|\b(?:multiple|several|parallel|number of|one|single|more than (?:one|1|a single))\s+(?:\w+\s+)?"
        r"(?:choice|completion|candidate|sample|response|generation|output|repl|sequence|answer)"
    ),
    "stop": re.compile(r"\bstop(?:_?(?:sequences?|words?|tokens?|strings?))?\b"),
    "max_tokens": re.compile(r"max(?:imum)?[_\s]?(?:completion[_\s]|new[_\s]|output[_\s])?tokens"),
    "temperature": re.compile(r"temperature|sampling param"),
}
_ALIASES: dict[str, Parameter] = {
    "top_logprobs": "logprobs",
    "max_completion_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
}
_TOGETHER = re.compile(
    r"\b(?:both|together|simultaneous|combin|mutually|either|same time|only one of|alongside|when|with)\b(?! this)"
)
_RANGE = re.compile(
    r"must be|should be|between|less than|at most|at least|greater|range|too (?:large|big|high|small|low)"
    r"|exceed|above|below|positive|maximum|minimum|[<>]"
)
_UNSUPPORTED = re.compile(
    r"unsupport|(?:not|n't|no|cannot) support|unknown|unrecogni|permitted|not allowed|unexpected|extra|\bonly\b|default"
    r"|deprecat|remove|instead|disabled|available|implemented|forbid"
    r"|must be (?:set to |equal to |exactly )?1(?:\.0)?\b(?! and)"
)
_POSITIVE = re.compile(r"positive|(?:greater|larger|more|higher) than 0|above 0|non-?zero|> ?0|not be (?:0|zero)")
_SYSTEM = re.compile(
    r"system.{0,20}(?:role|message|prompt|instruction).{0,60}(?:not|n't|only|unsupported|invalid)"
    r"|(?:not|n't|only|unsupported|invalid|unknown|unexpected).{0,60}"
    r"(?:['\"`]system['\"`]|\bsystem[- ](?:role|message))"
    r"|['\"`]system['\"`].{0,60}(?:not supported|unsupported|not allowed|invalid)"
    r"|roles? must|only [\w\s,/'\"`]{0,40}\broles?\b|(?:unexpected|unknown|invalid|unsupported)\s(?:message\s)?role"
    r"|first message must|developer instruction",
    re.DOTALL,
)
_WINDOW_CODE = re.compile(
    r"context.*(?:exceed|length|window|size)|prompt.*too.?long|string_above_max|tokens?_limit|too_?large|too_?long"
    r"|max.*(?:prompt|input|context)"
)
_WINDOW = re.compile(
    r"context.{0,40}(?:length|window|size|limit|exceed|overflow|too |full)|(?:length|window|size) of (?:the )?context"
    r"|(?<!\w)(?:prompt|inputs?|sequence|conversation|chat history)\b.{0,80}"
    r"(?:too (?:long|large|big|many)|exceed|longer|larger|over the|beyond|too much)"
    r"|(?:exceed|longer|too (?:long|large|many)|beyond|max(?:imum)?)\b.{0,60}"
    r"\b(?:prompt|inputs?|context|sequence|conversation|model_?len)"
    r"|max[_ ]?(?:model|seq|input|prompt|context|position)\w*[_ ]?(?:len|tokens|size)"
    r"|(?:reduce|shorten|truncate).{0,40}(?:length|prompt|messages|input|conversation)"
    r"|(?<!\w)(?:inputs?|prompt)\W.{0,40}(?:less|fewer|at most|<).{0,30}tokens|input length should|history.{0,20}longer"
    r"|tokens.{0,40}(?:above|over|beyond) the (?:limit|maximum)|kv cache.{0,20}full",
    re.DOTALL,
)
_MAYBE_WINDOW = re.compile(
    r"\b(?:messages?|text|request|payload|body|tokens)\b.{0,60}(?:too (?:long|large|big|many)|exceed)"
    r"|(?:too (?:long|large|big|many)|exceed)\w*\b.{0,60}\b(?:messages?|text|request|payload|body|tokens?)\b",
    re.DOTALL,
)


_MODERATION = re.compile(r"polic|moderat|safety|harm|forbidden|filter|flagged|blocked|violat")


def may_be_window(refusal: StatusError) -> bool:
    """Whether a refusal that says nothing may mean the length: it does not speak of what a text is about."""
    words = refusal.body.decode("utf-8", "replace").lower()
    return refusal.status in UNNAMED and not _MODERATION.search(words)


class Meaning(NamedTuple):
    """What a server minds.

    Attributes:
        window: The conversation is too long.
        system: It takes no system message.
        parameters: It does not take these.
        raised: It takes a temperature, but not 0.
    """

    window: bool = False
    system: bool = False
    parameters: tuple[Parameter, ...] = ()
    raised: bool = False


def read_refusal(refusal: StatusError, present: Collection[Parameter]) -> Meaning:
    """What a refusal means for a request that has these parameters; all empty where it says nothing of the kind."""
    if refusal.status not in REFUSING:
        return Meaning()
    record = _record(refusal.body)
    words = f"{refusal.text} {refusal.body.decode('utf-8', 'replace')}".replace("\\n", " ").replace('\\"', '"').lower()
    code = " ".join(_values(record, ("code", "type"))).lower()
    fields = [field.lower() for field in _values(record, ("param", "loc", "parameter", "field", "argument"))]
    if refusal.status == _TOO_LARGE or _WINDOW_CODE.search(code):
        return Meaning(window=True)
    named = _in_fields(fields, present)
    if not named and _SYSTEM.search(words):
        return Meaning(system=True)
    if not named and _WINDOW.search(words):
        return Meaning(window=True)
    named = named or _in_words(words, present)
    if named:
        return _judged(named, f"{code} {words}")
    return Meaning(window=bool(_MAYBE_WINDOW.search(words)))


def _judged(named: tuple[Parameter, ...], words: str) -> Meaning:
    """Which of the named parameters to leave out: not the one whose value a person has to mend."""
    if len(named) > 1 and _TOGETHER.search(words):
        named = named[:1]
    unsupported = _UNSUPPORTED.search(words)
    if "temperature" in named and not unsupported and _POSITIVE.search(words):
        return Meaning(parameters=tuple(item for item in named if item != "temperature"), raised=True)
    if not unsupported and _RANGE.search(words):
        named = tuple(item for item in named if item not in ("temperature", "max_tokens"))
    return Meaning(parameters=named)


def _in_fields(fields: list[str], present: Collection[Parameter]) -> tuple[Parameter, ...]:
    """Parameters that are named as the path of a field: `seed`, `body.seed`, or the last part of a `loc`."""
    parts = {part for field in fields for part in re.split(r"[^a-z_]+", field)}
    parts = {str(_ALIASES.get(part, part)) for part in parts}
    return tuple(name for name in PARAMETERS if name in parts and name in present)


def _in_words(words: str, present: Collection[Parameter]) -> tuple[Parameter, ...]:
    """Parameters that a sentence names; those it lists as the ones it knows do not count."""
    for text in (_LIST_OF_KNOWN.sub("", words), words):
        named = tuple(name for name in PARAMETERS if name in present and _NAMES[name].search(text))
        if named:
            return named
    return ()


def _record(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _values(found: Any, names: tuple[str, ...], depth: int = 6) -> Iterator[str]:
    """The texts and numbers under these keys, anywhere in a record."""
    if depth == 0:
        return
    if isinstance(found, list):
        for item in found:
            yield from _values(item, names, depth - 1)
    elif isinstance(found, dict):
        for key, value in found.items():
            if key in names and not isinstance(value, dict):
                yield from (str(item) for item in (value if isinstance(value, list) else [value]) if item is not None)
            else:
                yield from _values(value, names, depth - 1)
