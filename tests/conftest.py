"The notebooks run beside the other tests, so that no core is idle. Written by hand."
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest

LAST = ('test_runs_and_was_run', 'test_run_time') # they wait for the runs of notebooks

def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: getattr(item, 'originalname', '') in LAST)

@pytest.fixture(scope='session', autouse=True)
def notebook_runs(request, tmp_path_factory): # by name, what a run of each notebook to be tested will have written, and where
    names = [item.callspec.params['name'] for item in request.session.items if getattr(item, 'originalname', '') == LAST[0]]
    if not names:
        yield {}
        return
    from xrd_nb.chapters import AT_ONCE, run_notebook
    root, folder = Path(__file__).resolve().parents[1], tmp_path_factory.mktemp('runs')
    with ThreadPoolExecutor(AT_ONCE) as pool:
        saved = {name: folder/f'{name.replace("/", "-")}' for name in names}
        yield {name: (pool.submit(run_notebook, root/'nbs'/name, root, path), path) for name, path in saved.items()}
        pool.shutdown(cancel_futures=True) # where a test failed under -x
