"""Services and the processes that they run in."""

import pytest

from cli.layout import Layout
from services.declared import SERVICES
from services.mesh.call.errors import InvalidArgument


def test_by_default_all_services_run_in_one_process() -> None:
    assert Layout().processes() == {"serve": SERVICES}


def test_a_service_set_apart_gets_a_process_of_its_own() -> None:
    processes = Layout(apart=["memory"]).processes()
    assert processes["serve-memory"] == ("memory",)
    assert set(processes["serve"]) == set(SERVICES) - {"memory"}


def test_a_service_left_out_runs_nowhere() -> None:
    assert Layout(without=["memory"]).processes() == {"serve": tuple(s for s in SERVICES if s != "memory")}


def test_a_stack_without_services_has_no_process_for_them() -> None:
    assert Layout(without=SERVICES).processes() == {}


@pytest.mark.parametrize("layout", [Layout(apart=["memmory"]), Layout(without=["memmory"])])
def test_a_service_that_does_not_exist_is_refused_by_name(layout: Layout) -> None:
    with pytest.raises(InvalidArgument, match="'memmory'"):
        layout.processes()


def test_a_service_is_either_apart_or_left_out() -> None:
    with pytest.raises(InvalidArgument, match="memory"):
        Layout(apart=["memory"], without=["memory"]).processes()


def test_workers_are_processes_that_run_the_same_services() -> None:
    assert Layout(workers=2).processes() == {"serve-1": SERVICES, "serve-2": SERVICES}


def test_a_service_apart_has_one_process_beside_the_workers() -> None:
    processes = Layout(apart=["memory"], workers=2).processes()
    assert set(processes) == {"serve-1", "serve-2", "serve-memory"}
    assert processes["serve-memory"] == ("memory",)
    assert "memory" not in processes["serve-1"]


def test_a_stack_without_workers_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="0 workers"):
        Layout(workers=0).processes()


def test_a_service_apart_may_have_several_processes() -> None:
    processes = Layout(apart=["memory=2", "policy=1"], workers=2).processes()
    assert set(processes) == {"serve-1", "serve-2", "serve-memory-1", "serve-memory-2", "serve-policy"}
    assert processes["serve-memory-1"] == processes["serve-memory-2"] == ("memory",)


@pytest.mark.parametrize("apart", [["memory=0"], ["memory="], ["memory=two"], ["memory=-1"], ["memory", "memory=2"]])
def test_an_invalid_number_of_processes_is_refused_with_the_service(apart: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="memory"):
        Layout(apart=apart).processes()
