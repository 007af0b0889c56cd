"""How long to wait before a restart."""

import pytest

from services.mesh.process.backoff import Backoff


def test_the_delay_doubles_from_a_fifth_of_a_second_to_ten_seconds() -> None:
    backoff, delays = Backoff(), []
    for _ in range(8):
        backoff = backoff.failed(well_for=0.0)
        delays.append(backoff.delay)
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])


@pytest.mark.parametrize(("well_for", "failures"), [(29.9, 6), (30.0, 1)])
def test_the_delay_starts_over_after_half_a_minute_without_a_failure(well_for: float, failures: int) -> None:
    assert Backoff(failures=5).failed(well_for) == Backoff(failures)


def test_the_delay_is_bounded_however_often_it_failed() -> None:
    assert Backoff(failures=10_000).delay == 10.0
