import pytest

from bellhousing_tgi.limits import Limits


@pytest.mark.parametrize(
    ("limits", "prompt", "room"),
    [
        ((8191, 8192), 10, 8182),  # the launcher's own defaults: all of the context
        ((1024, 2048), 1000, 1024),  # one piece, then the text is too long for a prompt
        ((1024, 2048), 1024, 1024),
        ((2000, 8192), 900, 2048),  # 900 + 1024 is a prompt still, 900 + 2048 none
        ((256, 512), 5, 507),
        ((256, 512), 256, 256),
        ((12, 16), 13, -1),
        ((16, 16), 16, 0),
    ],
)
def test_the_room_behind_a_prompt_is_what_a_router_generates(limits: tuple[int, int], prompt: int, room: int) -> None:
    assert Limits(*limits, 128).room(prompt) == room


def test_another_servers_answer_has_no_limits() -> None:
    with pytest.raises(KeyError):
        Limits.of({"version": "2.4"})
