"""What can be said of a request before any data are read or anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertpress.encoders import check_length, encoder_of
from bertpress.engine.evaluation import mean_tokens
from bertpress.engine.loading import load_config
from bertpress.errors import RequestError
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.limits import check, limits
from bertpress.methods.yoco.opening import check_lengths, phases
from bertpress.methods.yoco.super_network import About, find_super_network

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.methods.method import Situation
    from bertpress.methods.yoco import Yoco
    from bertpress.tasks.task import Task


def check_request(method: Yoco, situation: Situation) -> None:
    """Refuse what cannot be searched or trained.

    Raises:
        RequestError: says which setting does not fit.
    """
    space = method.space_of(situation.given)
    if method.strategy == "progressive":
        check_lengths(method.phase_lengths, len(phases(space, method.progression)))
    if method.super_network is not None:
        folder = find_super_network(method.super_network)
        About.read(folder)
        config = load_config(str(folder), situation.trust_remote_code)
        if situation.task is not None:
            check_length(situation.task.max_length, encoder_of(config).positions(config))
    elif method.teacher not in ("start", "input", "none"):
        load_config(method.teacher, situation.trust_remote_code)
    if situation.task is not None and not situation.task.asks:
        raise RequestError("yoco needs a task that asks something; text of kind encoder asks nothing.")
    if situation.task is not None and method.super_network is None:
        check_judged(method.search.split or "train", situation.task)


def check_judged(search: str, task: Task) -> None:
    """Refuse a task by whose labels no checkpoint can be chosen.

    Args:
        search: the split that holds the rows of the search, or that these are taken from.
        task: whose development split is looked at where those have none.

    Raises:
        RequestError: neither has labels.
    """
    if not any(split in task.splits and task.has_labels(split) for split in (search, task.dev_split)):
        raise RequestError(
            f"yoco chooses checkpoints by labels, but neither {search} nor {task.dev_split} rows have any."
        )


def check_limits(method: Yoco, config: PretrainedConfig, task: Task) -> None:
    """Refuse limits that no sub-network meets together, before anything is trained; times are not known yet.

    Args:
        config: of the model that the step is given.

    Raises:
        AnswerNo: names the smallest that can be reached.
    """
    given = {name: amount for name, amount in method.given().items() if name != "latency_ms"}
    if given:
        tokens, scope = mean_tokens(task), {"scope": method.scope} if "parameters" in given else {}
        space, positions = method.space_of(config), task.positions(tokens)
        check(limits(Budget(**given, **scope), space, config, task.head, tokens, positions), space)
