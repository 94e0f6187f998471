"""A finished model on the Hub. Nothing else in this package sends anything anywhere."""

from __future__ import annotations

import re
from pathlib import Path

from bertpress.engine.loading import model_folder
from bertpress.errors import RequestError

WEIGHTS = ("*.safetensors", "*.onnx")
KEPT_BACK = ("predictions/*", "result.json", ".*")
"""What stands beside an export in a run and is nobody else's: predictions hold texts."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def push(model: str, to: str, private: bool = False) -> str:
    """Put a model folder on the Hub, through huggingface_hub and the token that it knows.

    Args:
        model: a folder, or a run, which stands for its last finished step.
        to: owner/name of the repository, which is made if there is none.
        private: of a repository that is made.

    Returns:
        The address of the commit.

    Raises:
        RequestError: no model folder, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    # The base of every error of whatever it sends requests with.
    unreachable: tuple[type[BaseException], ...] = (OfflineModeIsEnabled, HfHubHTTPError.__mro__[1], OSError)
    folder = Path(model_folder(model))
    if not (folder / "config.json").is_file() or not any(list(folder.glob(pattern)) for pattern in WEIGHTS):
        raise RequestError(
            f"{model} is no folder with a model (config.json and {' or '.join(WEIGHTS)}); give a finished result."
        )
    if not REPOSITORY.fullmatch(to):
        raise RequestError(f"--to expects OWNER/NAME, such as me/small-mrpc, got '{to}'; nothing was sent.")
    api, message, left_out = HfApi(), "A model pressed by bertpress", list(KEPT_BACK)
    try:
        api.create_repo(to, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=to, folder_path=folder, commit_message=message, ignore_patterns=left_out)
    except (HfHubHTTPError, HFValidationError) as error:
        first = " ".join(str(error).split())[:300]
        raise RequestError(f"The Hub refused {to}: {first} Log in with `hf auth login`, or change --to.") from None
    except unreachable as error:
        raise RequestError(f"The Hub cannot be reached ({type(error).__name__}); try the same again later.") from None
    return str(commit.commit_url)
