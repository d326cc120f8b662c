"The notebooks, what is made from them, and the site: checks of a clone. Written by hand."
import json, re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
import pytest

pytest.importorskip('nbdev', reason="needs the developer tools: pip install -e '.[dev]'")
ROOT = Path(__file__).resolve().parents[1]
if not (ROOT/'nbs').is_dir(): pytest.skip('needs a clone; the wheel has no notebooks', allow_module_level=True)

from xrd_nb.docs import build_site, is_run, notebooks, outside_requests, read_notebook, run_notebook, settings, stale_files

NAMES = [p.relative_to(ROOT/'nbs').as_posix() for p in notebooks(ROOT)]
EACH = pytest.mark.parametrize('name', NAMES)

def code_cells(name):
    return [c for c in read_notebook(ROOT/'nbs'/name)['cells'] if c['cell_type'] == 'code']

def outputs(name):
    return [o for c in code_cells(name) for o in c['outputs']]

def kinds(cells): # per cell: what its outputs are, so that two runs can be compared across machines
    return [[(o['output_type'], *sorted(o.get('data', {}))) for o in c['outputs']] for c in cells]

def test_modules_tests_and_readme_are_current():
    assert stale_files(ROOT) == [], 'run .ci/sync'

def test_readme_holds_the_two_commands():
    lines = (ROOT/'README.md').read_text(encoding='utf-8').splitlines()
    commands = [line.strip() for line in lines if line.startswith('    pip install')]
    assert commands == ['pip install -c constraints.txt . && xrd-nb demo', "pip install -c constraints.txt -e '.[dev]' && pytest"]

@EACH
def test_size(name):
    assert (ROOT/'nbs'/name).stat().st_size < 300_000
    long = [c['source'].split('\n')[0] for c in code_cells(name) if c['source'].count('\n') >= 60]
    assert not long, 'cells of more than 60 lines'
    figures = [len(o['data']['image/png'])*3//4 for o in outputs(name) if 'image/png' in o.get('data', {})]
    assert all(size <= 40*1024 for size in figures), figures

@EACH
def test_outputs_are_fit_to_print(name):
    found = outputs(name)
    assert not [o for o in found if o['output_type'] == 'error' or o.get('name') == 'stderr']
    texts = [''.join(o.get('text', '')) for o in found]
    texts += [''.join(v) for o in found for k, v in o.get('data', {}).items() if k.startswith('text/')]
    paths = r'(?<![\w.:/])/(?:home|root|tmp|usr|opt|var|work|mnt|Users)/\S+|\b[A-Z]:\\\w'
    unfit = re.compile(paths + r'|\w+Warning:| at 0x[0-9a-f]{6,}|\d+%\|') # paths, warnings, addresses, progress bars
    assert not [m[0] for t in texts for m in unfit.finditer(t)]

@EACH
def test_runs_and_was_run(name, tmp_path):
    run_notebook(ROOT/'nbs'/name, ROOT, tmp_path/'run.ipynb')
    flags = settings(ROOT)['tst_flags'].split()
    fresh, saved = ([c for c in code_cells(path) if is_run(c['source'], flags)] for path in (tmp_path/'run.ipynb', name))
    assert kinds(fresh) == kinds(saved), 'saved outputs are not those of a run; run .ci/sync --run'

class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.bare = set(), [], []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if 'id' in attrs: self.ids.add(attrs['id'])
        if tag == 'a' and attrs.get('href'): self.links.append(attrs['href'])
        if tag == 'img' and not attrs.get('alt'): self.bare.append(attrs.get('src', '')[:40])

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    return build_site(tmp_path_factory.mktemp('docs')/'site', root=ROOT)

def test_site_has_every_chapter_and_needs_no_network(site):
    titles = [p.stem for p in site.rglob('*.html')]
    assert len(titles) == len(NAMES)
    assert outside_requests(site) == []
    assert not [p.name for p in site.rglob('*.html') if 'example.org' in p.read_text(encoding='utf-8')]

def test_site_links_lead_somewhere(site):
    pages = {p.relative_to(site).as_posix(): Page(p) for p in site.rglob('*.html')}
    broken = []
    for name, page in pages.items():
        for link in page.links:
            if re.match(r'[a-z]+:', link): continue
            target, _, anchor = unquote(link).partition('#')
            file = ((site/name).parent/target).resolve() if target else site.resolve()/name
            file = file/'index.html' if file.is_dir() else file
            inside = file.relative_to(site.resolve()).as_posix() if file.is_file() else None
            if inside is None or anchor and anchor not in pages[inside].ids: broken.append(f'{name}: {link}')
    assert not broken

def test_site_figures_have_words(site):
    assert not {p.name: page.bare for p in site.rglob('*.html') if (page := Page(p)).bare}

def test_search_finds_functions(site):
    index = json.loads((site/'search.json').read_text(encoding='utf-8'))
    for wanted in ('powder_reflections', 'extinction_group', 'build_site'):
        assert [e for e in index if wanted in e['section'] and wanted in e['href']], wanted
    assert (site/'search.js').read_text(encoding='utf-8').startswith('window.searchIndex = [')
