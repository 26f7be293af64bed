"""A reward model behind a server: the raw output of its classifier for a history, thought and action."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.http import Clock, HttpClient, Manners, WaitHook
from agentrm_models.http_failures import StatusError
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.messages import Conversation, goal_length, without_older_half
from agentrm_models.notices import Notice, Notices
from agentrm_models.policies.openai_refusals import read_refusal
from agentrm_models.requests_in_flight import ask_all
from agentrm_models.rewards.base import RewardTraits, ScoreGroup
from agentrm_models.rewards.served.apis import Answer, Api, Scored, Switch, read_answer
from agentrm_models.rewards.served.detection import Server, explained, find_server, ordered_labels
from agentrm_models.rewards.served.options import RewardOptions, read_served_reward
from agentrm_models.rewards.served.parity import compare, local_values
from agentrm_models.rewards.served.texts import FolderTexts, MessageTexts, Texts, probe_conversations
from agentrm_models.rewards.served.values import Values, find_values, log_odds
from agentrm_models.server_address import KEY_VARIABLE, SEND_KEY, is_key_withheld, key_from
from agentrm_models.spelling import did_you_mean, shown_name
from agentrm_models.typed_path import typed_path
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

BATCH = 16
"""Texts in one request."""

PROBES = 4
"""Conversations that are scored on load."""

_UNSUPPORTED = frozenset({400, 404, 405, 422, 500, 501})
"""Statuses of servers that know a path and cannot serve it with this model."""


class ServedReward:
    """A classifier on a server as a reward model.

    On load a few random conversations are scored: whether they are raw values, and, where the folder of the same model
    is at hand, whether it gives the same.

    Args:
        spec: Its address, with `#model` and options behind it (see `spec.RewardOptions`).

    Attributes:
        notice: What was found out on load, such as which API is asked.

    Raises:
        UsageError: The address or an option is wrong, it is not known how to ask the server, or which of several
            outputs is the reward.
        DataError: The server cannot be reached, or its answers cannot be used.
    """

    def __init__(self, spec: str, options: LoadOptions = DEFAULT_OPTIONS, *, clock: Clock | None = None) -> None:
        served = read_served_reward(spec)
        chosen = served.options
        self._notices = Notices()
        if is_key_withheld(KEY_VARIABLE):
            self._notices.add(f"{KEY_VARIABLE} is not sent to {served.place}, which the run file names; {SEND_KEY}")
        address = served.servers[0]
        root = address._replace(url=address.url.removesuffix("/v1"))
        manners = Manners(chosen.timeout, chosen.patience, errors_in_answers=True)
        self._http = HttpClient(root, key=key_from(KEY_VARIABLE), manners=manners, clock=clock)
        self._where = root.url
        self._usage = Usage()
        server = find_server(self._http, self._where, served.model, chosen.api_name)
        folder = typed_path(chosen.folder) if chosen.folder else None
        settings = read_settings(folder) if folder else FolderSettings()
        self._model, self._labels = server.model, server.labels or _labels_of(folder)
        self._texts = self._make_texts(server, folder, options)
        self._api, first = self._choose_api(server)
        self._output = self._choose_output(chosen.output, len(first[0]))
        self._values = self._settle(chosen, folder, options)
        self.notice = self._describe(folder, settings)
        self._traits = RewardTraits(
            f"{self._where}#{self._model}" if self._model else self._where,
            "",
            chosen.prompt_style or settings.prompt or "short",
            context_length=server.window,
            environments=settings.environments,
            threshold=settings.stop_at,
        )

    @property
    def traits(self) -> RewardTraits:
        """Name of server and model; the weights' identity is not known."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Tokens that were sent or that the server reported: nothing is known about reuse."""
        return self._usage

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        """Score all conversations of all groups together.

        Raises:
            UsageError: The server refuses the key.
            DataError: It failed, or its answer cannot be used.
            InterruptedRun: Raised by the progress hook.
        """
        started = perf_counter()
        values = iter(self._score([item for group in groups for item in group.items], progress))
        self._usage += Usage(requests=1, milliseconds=(perf_counter() - started) * 1e3)
        return [[next(values) for _ in group.items] for group in groups]

    def new_notices(self) -> list[Notice]:
        """What was found out about the server since the last call."""
        return self._notices.take()

    def new_episode(self) -> None:
        """The server looks after its own cache."""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _make_texts(self, server: Server, folder: Path | None, options: LoadOptions) -> Texts:
        if folder is not None:
            from agentrm_models.loading import read_tokenizer

            return FolderTexts(read_tokenizer(folder, options.trust_remote_code), server.window, self._notices)
        if not server.apis[0].chats:
            raise UsageError(
                f"{self._where}: {server.apis[0].server} takes text, and renders no conversations",
                "Name a folder with the model's tokenizer and chat template behind the address: #folder=PATH.",
            )
        return MessageTexts()

    def _choose_api(self, server: Server) -> tuple[Api, list[list[float]]]:
        """The first way of asking that the model is served with, and what it answers to the probe."""
        refusal: StatusError | None = None
        for api in server.apis:
            self._api, self._values = api, Values(api.switches[0] if api.switches else {}, "raw")
            try:
                return api, self._rows(probe_conversations(PROBES), self._values.switch, ignore_progress)
            except StatusError as error:
                if error.status not in _UNSUPPORTED:
                    raise explained(error) from None
                refusal = refusal or error
        assert refusal is not None
        raise UsageError(refusal.cause, "Is a reward model served there? Name how it is asked with #api=….")

    def _choose_output(self, name: str, count: int) -> int:
        """The number of the output that is the reward.

        Raises:
            UsageError: There is none of that name, or several and none was named.
        """
        labels = self._labels if len(self._labels) == count else tuple(str(number) for number in range(count))
        if not name:
            if count > 1:
                named = ", ".join(map(shown_name, labels[:30]))
                raise UsageError(f"{self._where} gives {count} outputs", f"Write #output=NAME, one of: {named}.")
            return 0
        if name in labels:
            return labels.index(name)
        if name.isdecimal() and int(name) < count:
            return int(name)
        remedy = did_you_mean(name, labels, "Outputs")
        raise UsageError(f"{self._where}: there is no output {shown_name(name)!r} among its {count}", remedy)

    def _settle(self, chosen: RewardOptions, folder: Path | None, options: LoadOptions) -> Values:
        """Find out what the values are, and compare them with the folder's."""
        probe = probe_conversations(PROBES)
        found = find_values(lambda switch: self._rows(probe, switch, ignore_progress), self._api.switches)
        if chosen.values:
            found = found._replace(kind=chosen.values)
        mine: list[float] | str = "it is not at hand"
        if folder is not None:
            mine = local_values(folder, probe, chosen.output, options) if chosen.parity == "yes" else "parity=no"
        if isinstance(mine, str):
            if folder is not None:
                self._notices.add(f"{self._where} was not compared with {folder.name}: {mine}")
        else:
            rows = self._rows(probe, found.switch, ignore_progress)
            served = [row[self._output] for row in rows]
            if found.kind == "probabilities" and chosen.values:
                served = [log_odds(value) for value in served]
            compared = compare(mine, served, self._where)
            if compared.notice:
                self._notices.add(compared.notice, compared.loud)
            return found._replace(kind="probabilities" if compared.odds else chosen.values or "raw")
        if found.kind == "unknown":
            self._notices.add(
                f"{self._where}: all values of a probe lie between 0 and 1, so they may be probabilities; "
                "#values=probabilities turns them into log-odds, #values=raw takes them as they are",
                True,
            )
        return found

    def _describe(self, folder: Path | None, settings: FolderSettings) -> str:
        """What is known after loading, in one line."""
        read = "renders conversations itself" if folder is None else f"is given the {self._api.form} of {folder.name}"
        words = f"{self._api.server} at {self._where}{self._api.path} {read}"
        if self._values.kind == "probabilities":
            words += "; its probabilities are turned into log-odds"
        if settings.likelihood or settings.likelihoods:
            words += "; the likelihood that the folder's reward holds too is left out"
        return words

    def _score(self, conversations: Sequence[Conversation], progress: ProgressHook) -> list[float]:
        rows = self._rows(conversations, self._values.switch, progress)
        values = []
        for row in rows:
            if len(row) <= self._output:
                raise DataError(f"{self._where} gave {len(row)} outputs, and output {self._output} is the reward")
            value = row[self._output]
            values.append(log_odds(value) if self._values.kind == "probabilities" else value)
        return values

    def _rows(self, conversations: Sequence[Conversation], switch: Switch, progress: ProgressHook) -> list[list[float]]:
        """All outputs for each conversation."""
        items = [self._texts.scored(conversation, self._api) for conversation in conversations]
        size = BATCH if items and items[0].ids else 1
        batches = [items[start : start + size] for start in range(0, len(items), size)]
        answers = ask_all(
            [self._http], batches, lambda batch, on_wait: self._ask_fitting(batch, switch, on_wait), progress
        )
        for answer, dropped in answers:
            self._usage += Usage(
                tokens_computed=answer.tokens, tokens_unique=answer.tokens, dropped_observations=dropped
            )
        return [row for answer, _ in answers for row in answer.rows]

    def _ask_fitting(self, batch: Sequence[Scored], switch: Switch, on_wait: WaitHook) -> tuple[Answer, int]:
        """The answer, and how many observations were left out so that it was given."""
        try:
            return self._ask(batch, switch, on_wait), sum(item.dropped for item in batch)
        except StatusError as refusal:
            if not read_refusal(refusal, ()).window:
                raise explained(refusal) from None
            if len(batch) > 1:
                parts = [self._ask_fitting([item], switch, on_wait) for item in batch]
                rows = [row for answer, _ in parts for row in answer.rows]
                return Answer(rows, sum(answer.tokens for answer, _ in parts)), sum(dropped for _, dropped in parts)
            shorter = without_older_half(batch[0].messages, goal_length(batch[0].messages))
            if len(shorter) == len(batch[0].messages):
                raise
            lost = (len(batch[0].messages) - len(shorter)) // 2 + batch[0].dropped
            answer, more = self._ask_fitting([self._texts.scored(shorter, self._api)], switch, on_wait)
            return answer, lost + more

    def _ask(self, batch: Sequence[Scored], switch: Switch, on_wait: WaitHook) -> Answer:
        api = self._api
        body = {**api.body(self._model, batch), **switch}
        content = self._http.post(api.path, body, on_wait, repeatable=True)
        answer = read_answer(content, len(batch), f"{self._where}{api.path}", self._labels)
        sent = sum(len(item.ids) for item in batch)
        if sent and answer.tokens and answer.tokens != sent:
            what = "cuts texts off" if answer.tokens < sent else "adds tokens to texts"
            self._notices.add(f"{self._where} {what}: it read {answer.tokens} tokens of {sent}", True)
        return answer if answer.tokens else answer._replace(tokens=sent)


def _labels_of(folder: Path | None) -> tuple[str, ...]:
    """The names of the outputs that a folder's configuration tells; empty where it tells none."""
    if folder is None or not (folder / "config.json").is_file():
        return ()
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    return ordered_labels(config.get("id2label")) if isinstance(config, dict) else ()
