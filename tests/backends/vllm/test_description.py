"""What the backend tells without an engine."""

from bellhousing.settings import Parallelism
from bellhousing_vllm.description import devices_of


def test_each_rank_has_a_device_and_on_a_cpu_all_have_the_same() -> None:
    wanted = Parallelism(tensor=3, pipeline=2)
    assert devices_of(wanted, on_cpu=True) == ("CPU",) * 6
    assert devices_of(wanted, on_cpu=False) == tuple(f"GPU {rank}" for rank in range(6))
