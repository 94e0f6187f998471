"""A finished model on the Hub. Nothing else in this package sends anything anywhere."""

from __future__ import annotations

from pathlib import Path

from bertpress.errors import RequestError
from bertpress.loading import model_folder

KEPT_BACK = ("predictions/*", "result.json", ".*")
"""What stands beside an export in a run and is nobody else's: predictions hold texts."""


def push(model: str, to: str, private: bool = False) -> str:
    """Put a model folder on the Hub, through huggingface_hub and the token that it knows.

    Args:
        model: a folder, or a run, which stands for its last finished step.
        to: owner/name of the repository, which is made if there is none.
        private: of a repository that is made.

    Returns:
        The address of the commit.

    Raises:
        RequestError: no model folder, or the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder = Path(model_folder(model))
    if not (folder / "config.json").is_file():
        raise RequestError(f"{model} is no folder with a model; expected a folder, or a run with a finished step.")
    api = HfApi()
    try:
        api.create_repo(to, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=to,
            folder_path=folder,
            commit_message="A model pressed by bertpress",
            ignore_patterns=list(KEPT_BACK),
        )
    except (HfHubHTTPError, HFValidationError) as error:
        first = " ".join(str(error).split())[:300]
        raise RequestError(
            f"The Hub refused {to}: {first} Log in with `hf auth login`, or name another --to."
        ) from None
    return str(commit.commit_url)
