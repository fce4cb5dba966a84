"""The flags that the migration knows are those of the installed vLLM."""

from typing import Any

import pytest

from bellhousing_vllm.migration.reader import shapes
from bellhousing_vllm.migration.rules import ALIASES

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore"),  # importing vLLM warns of torch's own affairs
]


@pytest.fixture(scope="module")
def actions() -> list[Any]:
    """The flags of vLLM's own parser."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    return [action for action in make_arg_parser(FlexibleArgumentParser())._actions if action.option_strings]


def test_every_flag_of_vllm_is_known_and_no_other(actions: list[Any]) -> None:
    theirs = {name for action in actions for name in action.option_strings if not name.startswith("--no-")}
    assert theirs - {"-h"} == {*shapes(), *ALIASES}


def test_every_alias_stands_for_the_flag_that_vllm_has(actions: list[Any]) -> None:
    theirs = {name: action.option_strings for action in actions for name in action.option_strings}
    assert {alias: name for alias, name in ALIASES.items() if name not in theirs[alias]} == {}


def test_every_flag_takes_as_many_words_as_in_vllm(actions: list[Any]) -> None:
    words = {0: "switch", "+": "many", "?": "optional", None: "one"}
    theirs = {name: words[action.nargs] for action in actions for name in action.option_strings if name in shapes()}
    assert theirs == shapes()
