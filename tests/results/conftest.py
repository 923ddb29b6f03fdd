import pytest

from robustdeq.results.store.result_store import ResultStore


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "runs")
