"""Model specs: the one line of text that names a policy or a reward model, on the command line and in run files.

| spec | policy | reward |
|---|---|---|
| `bundled:NAME` | a model shipped with the package | same |
| a folder | Transformers causal language model | Transformers sequence classifier with one output |
| a `.gguf` file | llama.cpp | – |
| `hf:ORG/REPO[:FILE]` | downloaded from the Hugging Face hub, then as above | same |
| `http(s)://HOST[:PORT]/v1[#MODEL]` | any OpenAI-compatible server | – |
| `human` | a person | – |
| `scripted[:FILE]` | a seeded player without a model, or replies from a file | `scripted`: noise |
| `expert` | the environment's own expert | – |
| `random[:SEED]` | – | noise in [0, 1), the baseline of every table |
| `implicit:POLICY,REFERENCE[,AGGREGATE]` | – | log-ratio of two language models; AGGREGATE: sum, mean, min or last |
| `judge:POLICY` | – | a language model orders the attempts |
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast, get_args

from agentrm_models.bundled import BundledModel, ModelRole, bundled_models, model_role
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import Aggregate, read_settings
from agentrm_models.typed_path import typed_path
from agentrm_models.weight_files import check_gguf, check_safetensors

if TYPE_CHECKING:
    from agentrm_models.policies.base import Policy
    from agentrm_models.rewards.base import RewardModel

SpecKind: TypeAlias = Literal[
    "bundled", "folder", "gguf", "hub", "server", "human", "scripted", "script", "expert", "random", "implicit", "judge"
]

_AGGREGATES = get_args(Aggregate)
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""What is fetched of a hub repository: never pickled weights, never code unless it is asked for."""


class Spec(NamedTuple):
    """A spec taken apart; nothing is loaded or downloaded yet.

    Attributes:
        kind: How the model is reached.
        name: As it was written; shown on screen and stored in run files.
        path: Folder or file, where there is one.
        where: Repository of the hub, or address of the server.
        detail: File in a hub repository, the seed of a random reward, or what an implicit one makes of its steps.
        parts: The models that an implicit reward or a judge is made of.
    """

    kind: SpecKind
    name: str
    path: Path = Path()
    where: str = ""
    detail: str = ""
    parts: tuple[Spec, ...] = ()


def policy_kinds() -> tuple[str, ...]:
    """How policies can be named, for help texts."""
    return (
        "bundled:NAME",
        "FOLDER",
        "FILE.gguf",
        "hf:ORG/REPO[:FILE]",
        "http(s)://HOST/v1[#MODEL]",
        "human",
        "scripted[:FILE]",
        "expert",
    )


def reward_kinds() -> tuple[str, ...]:
    """How reward models can be named, for help texts."""
    return (
        "bundled:NAME",
        "FOLDER",
        "hf:ORG/REPO",
        "implicit:POLICY,REFERENCE[,AGGREGATE]",
        "judge:POLICY",
        "random[:SEED]",
        "scripted",
    )


def list_models() -> list[BundledModel]:
    """Models that work offline, sorted by name."""
    return bundled_models()


def parse_spec(spec: str, role: ModelRole) -> Spec:
    """Take a spec apart and check that what it names can exist.

    Raises:
        UsageError: No such kind or bundled name; the message offers the nearest spelling.
        DataError: A file or folder that does not exist.
    """
    head, colon, rest = spec.partition(":")
    match head:
        case "http" | "https" if role == "policy" and rest.startswith("//"):
            return Spec("server", spec, where=spec)
        case "http" | "https" if rest.startswith("//"):
            raise UsageError(f"{spec[:80]!r}: a server cannot be used as a reward model in this version")
        case "human" | "expert" if role == "policy" and not colon:
            return Spec("human" if head == "human" else "expert", spec)
        case "scripted" if not colon:
            return Spec("scripted", spec)
        case "scripted" if role == "policy":
            return Spec("script", spec, path=typed_path(rest))
        case "random" if role == "reward":
            return _random(spec, rest, bool(colon))
        case "bundled" if colon:
            return Spec("bundled", spec, path=_bundled(spec, rest, role).folder)
        case "hf" if colon:
            return _hub(spec, rest)
        case "implicit" if role == "reward":
            return _implicit(spec, rest)
        case "judge" if role == "reward":
            return _judge(spec, rest)
        case "implicit" | "judge" if colon:
            raise UsageError(f"{spec[:80]!r} is a reward model, not a policy", "Give it with --reward.")
        case _:
            return _local(spec, role)


def _random(spec: str, seed: str, given: bool) -> Spec:
    if given and not seed.removeprefix("-").isdecimal():
        raise UsageError(f"{spec[:80]!r}: the seed must be a whole number", "For example random:7.")
    return Spec("random", spec, detail=seed or "0")


def _implicit(spec: str, rest: str) -> Spec:
    names = rest.split(",")
    aggregate = names.pop().strip() if len(names) > 2 else ""
    if len(names) != 2 or not all(names) or aggregate not in ("", *_AGGREGATES):
        raise UsageError(
            f"{spec[:80]!r} does not name two models",
            f"Write implicit:POLICY,REFERENCE, and one of {', '.join(_AGGREGATES)} behind a further comma if you like.",
        )
    parts = tuple(parse_spec(name.strip(), "policy") for name in names)
    for part in parts:
        if part.kind not in ("bundled", "folder", "hub") or part.detail:
            raise UsageError(
                f"{part.name[:80]!r} does not tell how likely a reply is",
                "An implicit reward takes folders, bundled policies and hub names of Transformers models.",
            )
    return Spec("implicit", spec, detail=aggregate, parts=parts)


def _judge(spec: str, rest: str) -> Spec:
    part = parse_spec(rest, "policy")
    if part.kind not in ("bundled", "folder", "gguf", "hub", "server"):
        raise UsageError(f"{spec[:80]!r}: {part.name} cannot judge", "A judge is a chat model or a server of one.")
    return Spec("judge", spec, parts=(part,))


def _bundled(spec: str, name: str, role: ModelRole) -> BundledModel:
    models = list_models()
    fitting = [model for model in models if model.role == role]
    for model in fitting:
        if model.name == name:
            return model
    if any(model.name == name for model in models):
        raise UsageError(f"{spec} is not a {_role_name(role)}", _offer(fitting))
    near = get_close_matches(name, [model.name for model in fitting], n=1, cutoff=0.4)
    raise UsageError(
        f"unknown bundled {_role_name(role)} {name[:80]!r}",
        f"Did you mean 'bundled:{near[0]}'?" if near else _offer(fitting),
    )


def _offer(models: list[BundledModel]) -> str:
    return f"Known: {', '.join(model.spec for model in models)}." if models else "None is shipped with this version."


def _role_name(role: ModelRole) -> str:
    return "policy" if role == "policy" else "reward model"


def _hub(spec: str, rest: str) -> Spec:
    repository, _, file = rest.partition(":")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"{spec[:80]!r} is not a hub name", "Write hf:ORG/REPO or hf:ORG/REPO:FILE.")
    return Spec("hub", spec, where=repository, detail=file)


def _local(spec: str, role: ModelRole) -> Spec:
    path = typed_path(spec)
    if spec and path.is_dir():
        return Spec("folder", spec, path=path)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise DataError(f"{spec} does not exist")
        return Spec("gguf", spec, path=path)
    if path.is_file():
        raise UsageError(f"{spec} is neither a model folder nor a .gguf file")
    if "/" in spec or spec.startswith((".", "~")) or path.suffix == ".safetensors":
        raise DataError(f"{spec} does not exist")
    single = ("human", "scripted", "expert") if role == "policy" else ("random", "scripted")
    known = [*single, *(model.spec for model in list_models() if model.role == role)]
    near = get_close_matches(spec, known, n=1, cutoff=0.5)
    kinds = policy_kinds() if role == "policy" else reward_kinds()
    raise UsageError(
        f"unknown {_role_name(role)} {spec[:80]!r}",
        f"Did you mean {near[0]!r}?" if near else f"Use one of: {', '.join(kinds)}.",
    )


def describe_spec(spec: str, role: ModelRole = "policy") -> str:
    """Say in one line what a spec stands for, without loading it.

    Raises:
        UsageError, DataError: As `parse_spec`.
    """
    parsed = parse_spec(spec, role)
    match parsed.kind:
        case "bundled":
            model = next(model for model in list_models() if model.folder == parsed.path)
            return f"bundled {_role_name(role)}, {model.size_bytes / 1e6:.1f} MB, no download"
        case "folder":
            return f"Transformers {_role_name(role)} in {parsed.path}"
        case "gguf":
            return f"llama.cpp {_role_name(role)}, {parsed.path.stat().st_size / 1e6:.1f} MB"
        case "hub":
            return f"{_role_name(role)} {parsed.where} from the Hugging Face hub"
        case "server":
            return f"policy served at {parsed.where}"
        case "human":
            return "you choose every action"
        case "expert":
            return "the environment's own expert"
        case "script":
            return f"replies from {parsed.path}"
        case "scripted" if role == "policy":
            return "a seeded player without a model: half expert, half random valid actions"
        case "scripted" | "random":
            return "random scores: a baseline, knows nothing"
        case "implicit":
            policy, reference = parsed.parts
            return f"how much likelier than {reference.name} {policy.name} finds the replies"
        case "judge":
            return f"{parsed.parts[0].name} as a judge, which orders the attempts"


def load_policy(
    spec: str, *, device: str = "auto", threads: int = 0, cache_bytes: int = 0, trust_remote_code: bool = False
) -> Policy:
    """Load the policy that a spec names.

    Args:
        spec: See the module's table.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; 0 lets the backend choose.
        cache_bytes: Limit of the prefix cache; 0 lets the backend choose.
        trust_remote_code: Whether a hub model may bring its own code.

    Raises:
        UsageError: Unknown spec, or a reward model where a policy is wanted.
        DataError: A file is missing, cut off or foreign; a download or a server failed; a package is missing.
    """
    parsed = parse_spec(spec, "policy")
    match parsed.kind:
        case "human":
            from agentrm_models.policies.human import HumanPolicy

            return HumanPolicy()
        case "expert":
            from agentrm_models.policies.expert import ExpertPolicy

            return ExpertPolicy()
        case "scripted":
            from agentrm_models.policies.scripted import ScriptedPolicy

            return ScriptedPolicy()
        case "script":
            from agentrm_models.policies.scripted import FileScriptPolicy

            return FileScriptPolicy(parsed.path)
        case "server":
            from agentrm_models.policies.openai_api import OpenAIPolicy

            return OpenAIPolicy(parsed.where)
        case _:
            path = _fetch(parsed, trust_remote_code) if parsed.kind == "hub" else parsed.path
            if path.suffix.lower() == ".gguf" and not path.is_dir():
                return _llama_cpp(path, spec, device, threads, cache_bytes)
            _check_folder(path, "policy")
            from agentrm_models.policies.transformers import TransformersPolicy

            return TransformersPolicy.load(
                path,
                name=spec,
                device=device,
                threads=threads,
                cache_bytes=cache_bytes,
                trust_remote_code=trust_remote_code,
            )


def _llama_cpp(file: Path, name: str, device: str, threads: int, cache_bytes: int) -> Policy:
    check_gguf(file)
    from agentrm_models.policies.llama_cpp import LlamaCppPolicy

    return LlamaCppPolicy(file, name=name, device=device, threads=threads, cache_bytes=cache_bytes)


def load_reward(
    spec: str, *, device: str = "auto", threads: int = 0, cache_bytes: int = 0, trust_remote_code: bool = False
) -> RewardModel:
    """Load the reward model that a spec names; arguments and errors as `load_policy`."""
    parsed = parse_spec(spec, "reward")
    if parsed.kind in ("scripted", "random"):
        from agentrm_models.rewards.scripted import RandomReward

        return RandomReward(int(parsed.detail or "0"), spec)
    if parsed.kind == "judge":
        from agentrm_models.rewards.judge import JudgeReward

        policy = load_policy(
            parsed.parts[0].name,
            device=device,
            threads=threads,
            cache_bytes=cache_bytes,
            trust_remote_code=trust_remote_code,
        )
        return JudgeReward(policy, spec)
    if parsed.kind == "implicit":
        folders = [_fetch(part, trust_remote_code) if part.kind == "hub" else part.path for part in parsed.parts]
        for folder in folders:
            _check_folder(folder, "policy")
        aggregate = cast("Aggregate | None", parsed.detail or None)
        return _load_implicit(folders, spec, aggregate, device, threads, cache_bytes, trust_remote_code)
    path = _fetch(parsed, trust_remote_code) if parsed.kind == "hub" else parsed.path
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        raise UsageError(
            f"{spec}: a GGUF file cannot be used as a reward model in this version",
            "Give the folder of a Transformers sequence classifier with one output.",
        )
    _check_folder(path, "reward")
    reference = read_settings(path).reference
    if reference:
        return _load_implicit((path, path / reference), spec, None, device, threads, cache_bytes, trust_remote_code)
    from agentrm_models.rewards.explicit import ExplicitReward

    return ExplicitReward.load(
        path, name=spec, device=device, threads=threads, cache_bytes=cache_bytes, trust_remote_code=trust_remote_code
    )


def _load_implicit(
    folders: Sequence[Path],
    name: str,
    aggregate: Aggregate | None,
    device: str,
    threads: int,
    cache_bytes: int,
    trust_remote_code: bool,
) -> RewardModel:
    from agentrm_models.rewards.implicit import ImplicitReward

    return ImplicitReward.load(
        folders[0],
        folders[1],
        name=name,
        aggregate=aggregate,
        device=device,
        threads=threads,
        cache_bytes=cache_bytes,
        trust_remote_code=trust_remote_code,
    )


def _check_folder(folder: Path, role: ModelRole) -> None:
    found = model_role(folder)
    if found is None:
        raise DataError(f"{folder} holds no model: its config.json is missing or cannot be read")
    if found != role:
        raise UsageError(f"{folder} holds a {_role_name(found)}, not a {_role_name(role)}")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise DataError(f"{folder} holds no .safetensors weights", "Pickled weights are never loaded; convert them.")
    for file in weights:
        check_safetensors(file)


def _fetch(spec: Spec, code: bool) -> Path:
    """Download what is not in the local hub cache yet, and return the folder or file."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        if spec.detail:
            return Path(huggingface_hub.hf_hub_download(spec.where, spec.detail))
        patterns = [*_HUB_FILES, "*.py"] if code else _HUB_FILES
        return Path(huggingface_hub.snapshot_download(spec.where, allow_patterns=patterns))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"cannot get {spec.name} from the Hugging Face hub: {reason[:200]}") from None
