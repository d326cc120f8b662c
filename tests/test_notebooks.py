"The notebooks, what is made from them, and the site: checks of a clone. Written by hand."
import ast, json, re, time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
import pytest

pytest.importorskip('nbdev', reason="needs the developer tools: pip install -e '.[dev]'")
ROOT = Path(__file__).resolve().parents[1]
if not (ROOT/'nbs').is_dir(): pytest.skip('needs a clone; the wheel has no notebooks', allow_module_level=True)

from xrd_nb.chapters import directives, is_run, notebooks, read_notebook, run_notebook, settings, stale_files
from xrd_nb.docs import build_site, outside_requests

NAMES = [p.relative_to(ROOT/'nbs').as_posix() for p in notebooks(ROOT)]
EACH = pytest.mark.parametrize('name', NAMES)
CHAPTERS = [name for name in NAMES if re.match(r'\d|\w+/', name)] # not the front page and the like
EACH_CHAPTER = pytest.mark.parametrize('name', CHAPTERS)
MOST_CELLS = 60 # of a chapter
SECONDS, SECONDS_IN_ALL = 50, 8*60 # of processor time a run may take where `yardstick` takes a second; promised are 20 seconds and 4 minutes on two cores

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
    cells = [c['source'].strip('\n') for c in code_cells(name)]
    long = [c.split('\n')[0] for c in cells if c.count('\n') >= (80 if '@njit' in c else 60)]
    assert not long, 'cells of more than 60 lines, or 80 with a compiled kernel'
    figures = [len(o['data']['image/png'])*3//4 for o in outputs(name) if 'image/png' in o.get('data', {})]
    assert all(size <= 40*1024 for size in figures), figures

@EACH_CHAPTER
def test_reads_like_a_chapter(name):
    cells = read_notebook(ROOT/'nbs'/name)['cells']
    code, prose = ([c for c in cells if c['cell_type'] == kind] for kind in ('code', 'markdown'))
    assert len(cells) <= MOST_CELLS, 'more cells than a reader has patience for: split the chapter'
    hidden = [c for c in code if 'hide' in directives(c['source'])[0]]
    assert 5*len(hidden) <= len(code), 'more than one cell of code in five is hidden'
    assert len(code) <= 3*len(prose), 'fewer than one cell of prose for three of code'
    assert re.match(r'# \S.*\n+> \S', prose[0]['source']), 'begins with "# title" and "> what it asks"'
    assert re.search(r'\]\([\w./]+\.ipynb', prose[-1]['source']), 'ends without a link onward'

def public_names(code): # top-level functions and classes of a cell that have no underscore
    return [node for node in ast.parse(code).body if hasattr(node, 'name') and not node.name.startswith('_')]

def uncommented(function, lines): # arguments with nothing said on their line
    told = function.args
    arguments = [a for a in (*told.posonlyargs, *told.args, *told.kwonlyargs) if a.arg not in ('self', 'cls')]
    return [f'{function.name}({a.arg})' for a in arguments if not re.search(r'#\s*\S', lines[a.lineno - 1])]

def undocumented(code): # what an exported cell leaves unsaid
    lines, missing = code.split('\n'), []
    for node in public_names(code):
        if not ast.get_docstring(node): missing.append(f'{node.name}: no docstring')
        if isinstance(node, ast.ClassDef):
            inits = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == '__init__']
            missing += [f'{node.name}: {x}' for f in inits for x in uncommented(f, lines)]
            fields = [f for f in node.body if isinstance(f, ast.AnnAssign)]
            missing += [f'{node.name}.{ast.unparse(f.target)}' for f in fields if not re.search(r'#\s*\S', lines[f.lineno - 1])]
        elif not any('app.' in ast.unparse(d) for d in node.decorator_list): # a command's arguments have their help
            missing += uncommented(node, lines)
            head = '\n'.join(lines[node.lineno - 1:node.body[0].lineno - 1])
            if not node.returns and not re.search(r'\):\s*#', head): missing.append(f'{node.name}: what it returns')
    return missing

@EACH
def test_exported_functions_are_documented(name):
    cells = [directives(c['source']) for c in code_cells(name)]
    assert not [x for told, code in cells if 'export' in told for x in undocumented(code)]

def test_the_check_of_documentation_finds_what_is_missing():
    assert undocumented('def f(\n    x: int, # cells\n) -> int:\n    "Do."\n    return x') == []
    found = undocumented('def f(x, y): # sum\n    return x + y\nclass A:\n    "A."\n    x: int\ndef _g(z): return z')
    assert found == ['f: no docstring', 'A.x']
    assert undocumented('def f(\n    x,\n):\n    "Do."\n    return x') == ['f(x)', 'f: what it returns']

def test_every_public_name_is_shown():
    exported, shown = {}, set()
    for name in NAMES:
        for told, code in (directives(c['source']) for c in code_cells(name)):
            words = set(re.findall(r'\w+', code))
            if 'export' not in told: shown |= words
            for node in ast.parse(code).body if 'export' in told else []: # what each function and class uses
                if hasattr(node, 'name'): exported.setdefault(node.name, set()).update(re.findall(r'\w+', ast.unparse(node)))
                if 'app.command' in ''.join(map(ast.unparse, getattr(node, 'decorator_list', []))): shown.add(node.name) # shown by its --help, called by name in the tests
    for path in (ROOT/'tests').glob('test_*.py'): shown |= set(re.findall(r'\w+', path.read_text(encoding='utf-8')))
    direct = [name for name in exported if name in shown and not name.startswith('_')]
    while further := {word for name in exported.keys() & shown for word in exported[name]} - shown: shown |= further
    public = [name for name in exported if not name.startswith('_')]
    assert sorted(set(public) - shown) == [], 'in no example, no test, and used by nothing that is'
    assert len(direct) >= 0.55*len(public), 'too few public names stand in an example or a test themselves'

@EACH
def test_outputs_are_fit_to_print(name):
    found = outputs(name)
    assert not [o for o in found if o['output_type'] == 'error' or o.get('name') == 'stderr']
    texts = [''.join(o.get('text', '')) for o in found]
    texts += [''.join(v) for o in found for k, v in o.get('data', {}).items() if k.startswith('text/')]
    paths = r'(?<![\w.:/])/(?:home|root|tmp|usr|opt|var|work|mnt|Users)/\S+|\b[A-Z]:\\\w'
    unfit = re.compile(paths + r'|\w+Warning:| at 0x[0-9a-f]{6,}|\d+%\|') # paths, warnings, addresses, progress bars
    assert not [m[0] for t in texts for m in unfit.finditer(t)]

REFERENCE = 0.25 # seconds of processor time for `yardstick`
USED = {} # seconds of processor time by notebook

@EACH
def test_runs_and_was_run(name, notebook_runs):
    run, path = notebook_runs[name]
    USED[name] = float(re.search(r'([\d.]+) s of processor time\s*\Z', run.result())[1])
    flags = settings(ROOT)['tst_flags'].split()
    fresh, saved = ([c for c in code_cells(p) if is_run(c['source'], flags)] for p in (path, name))
    assert kinds(fresh) == kinds(saved), 'saved outputs are not those of a run; run .ci/sync --run'
    assert not [c for c in saved if c['source'].strip() and not c['outputs'] and ends_in_a_value(c['source'])], 'cells that were not run'

def ends_in_a_value(source): # so that a run leaves an output: a bare name, call chain or tuple that isn't None, no semicolon
    told, code = directives(source)
    if 'hide' in told or code.rstrip().endswith(';') or not code.strip(): return False
    last = ast.parse(code).body[-1]
    return isinstance(last, ast.Expr) and isinstance(last.value, (ast.Name, ast.Tuple, ast.List, ast.Dict, ast.BinOp, ast.DictComp, ast.ListComp))

def yardstick():
    "Processor time of a fixed piece of training, in units of what it took on a quiet machine of two cores: how slow this one is, now."
    import torch
    from xrd_nb.models import FCN
    torch.manual_seed(0)
    network, batch, start = FCN(ladder='small'), torch.rand(16, 2, 4250), time.process_time()
    for _ in range(4): network(batch)['space_group'].sum().backward()
    return (time.process_time() - start)/REFERENCE

def test_run_time():
    if len(USED) < len(NAMES): pytest.skip('needs the runs of all notebooks')
    slower = max(1, yardstick()) # notebooks are timed by the clock of the machine they run on
    slow = {name: round(t) for name, t in USED.items() if t > slower*SECONDS}
    assert not slow and sum(USED.values()) <= slower*SECONDS_IN_ALL, dict(slow=slow, all=round(sum(USED.values())), slower=slower)

def snippets(): # the examples of the README, in order
    text = (ROOT/'README.md').read_text(encoding='utf-8').split('## A few lines of Python')[1].split('\n## ')[0]
    return [re.sub('(?m)^    ', '', block) for block in re.findall(r'(?m)(?:^    .*\n)+', text)]

def test_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    from xrd_nb.crystals import bundled_crystals
    from xrd_nb.profiles import render
    from xrd_nb.reflections import powder_reflections
    import numpy as np
    some = bundled_crystals()
    some = some[(some.frame.n_sites < 12) & ~some.frame.disordered][:60]
    (tmp_path/'my_cifs').mkdir()
    for i, structure in enumerate(some.to_pymatgen()): structure.to(filename=str(tmp_path/'my_cifs'/f'{i}.cif'))
    counts = 5 + 2000*render(powder_reflections(some[:1], two_theta=(4, 95)))[0]
    (tmp_path/'scan.xy').write_text('\n'.join(f'{5 + 0.02*i:.2f} {y:.0f}' for i, y in enumerate(counts)))
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in snippets(): exec(code.replace('epochs=30', 'epochs=1'), names)
    assert len(snippets()) == 7 and names['patterns'].shape == (60, 4250) and len(names['values']) == names['held'].test.sum() > 0
    assert names['intensity'].max() == 1 and (tmp_path/'map.html').exists() and 'top-1' in capsys.readouterr().out

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

def test_site_shows_signatures_without_markup(site): # nbdev links names in them as well, which code shows as brackets
    code = {p.name: re.findall(r'<pre.*?</pre>', p.read_text(encoding='utf-8'), re.DOTALL) for p in site.rglob('*.html')}
    plain = {name: [re.sub('<[^>]+>', '', block) for block in blocks] for name, blocks in code.items()}
    signatures = [(name, text) for name, blocks in plain.items() for text in blocks if re.match(r'\s*(def|class) ', text)]
    assert len(signatures) > 300 and not [s for s in signatures if re.search(r'\]\(\S+\.html', s[1])]

def test_site_figures_have_words(site):
    assert not {p.name: page.bare for p in site.rglob('*.html') if (page := Page(p)).bare}

def test_search_finds_functions(site):
    index = json.loads((site/'search.json').read_text(encoding='utf-8'))
    for wanted in ('powder_reflections', 'extinction_group', 'build_site'):
        assert [e for e in index if wanted in e['section'] and wanted in e['href']], wanted
    assert (site/'search.js').read_text(encoding='utf-8').startswith('window.searchIndex = [')
