"The `xrd-nb` command as a shell sees it: what it writes, what it says, and its exit code."
import json, os, shlex, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from xrd_nb.crystals import bundled_crystals

COMMANDS = ('simulate', 'pack', 'invent', 'train', 'evaluate', 'table', 'embed', 'index', 'calibrate', 'identify', 'demo', 'docs')

def xrd_nb(*words, cwd=None):
    "Run the command; (exit code, what it printed, what it complained of)."
    done = subprocess.run([sys.executable, '-c', 'from xrd_nb.cli import main; main()', *map(str, words)], capture_output=True, text=True,
                          cwd=cwd, env={**os.environ, 'COLUMNS': '120', 'NO_COLOR': '1'}, timeout=600)
    assert 'Traceback' not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr

@pytest.fixture(scope='module')
def crystals(tmp_path_factory):
    "A Parquet file of 250 crystals."
    return bundled_crystals()[::12].to_parquet(tmp_path_factory.mktemp('crystals')/'some.parquet')

@pytest.fixture(scope='module')
def cifs(tmp_path_factory):
    "A folder of CIFs, one of them broken."
    folder = tmp_path_factory.mktemp('cifs')
    for i, structure in enumerate(bundled_crystals()[::60].to_pymatgen()): structure.to(filename=str(folder/f'{i:03}.cif'))
    (folder/'broken.cif').write_text('this is no CIF')
    return folder

@pytest.fixture(scope='module')
def run(crystals, tmp_path_factory):
    "A finished run on those crystals."
    folder = tmp_path_factory.mktemp('runs')/'first'
    code, out, _ = xrd_nb('train', '--crystals', crystals, '--out', folder, '--epochs', 2, '--quiet')
    assert code == 0 and 'xrd-nb evaluate' in out
    return folder

def test_help_names_what_can_be_trained():
    from xrd_nb.datasets import CONDITIONS, EFFECTS, SPLITS, TASKS
    from xrd_nb.models import MODELS
    told = set(xrd_nb('train', '--help')[1].replace(',', ' ').replace(';', ' ').replace(':', ' ').split())
    assert set((*TASKS, *MODELS, *EFFECTS, *SPLITS, *(c for c in CONDITIONS if '-' not in c))) <= told

def test_run_that_names_no_crystals(run, tmp_path):
    shutil.copytree(run, tmp_path/'run')
    config = json.loads((tmp_path/'run'/'config.json').read_text())
    (tmp_path/'run'/'config.json').write_text(json.dumps({**config, 'crystals': ''})) # as train() leaves it where no source is given
    code, _, err = xrd_nb('evaluate', 'run', cwd=tmp_path)
    assert code == 2 and '--crystals' in err and len(err.strip().splitlines()) == 1

def test_stored_results_name_their_command():
    from xrd_nb.results import read_results, train_commands
    folder = Path(__file__).resolve().parents[1]/'nbs'/'results'/'runs'
    if not folder.is_dir(): pytest.skip('needs a clone; the wheel has no results')
    results, rejected = read_results(folder)
    assert len(results) and not len(rejected)
    told = xrd_nb('train', '--help')[1]
    given = {}
    for line in train_commands(results):
        words = shlex.split(line, comments=True)
        if not words: continue # a run that is not stored
        assert words[:2] == ['xrd-nb', 'train'] and all(w in told for w in words if w.startswith('--'))
        options = dict(zip(words, words[1:]))
        given[options['--out']] = options
    for one in (m for r in results for m in r.get('members', [r])):
        assert all(str(one['settings'][k]) == given[f'runs/{one["name"]}']['--' + k.replace('_', '-')] for k in ('task', 'model', 'size', 'split', 'epochs', 'batch_size', 'learning_rate', 'conditions', 'seed'))

@pytest.mark.parametrize('command', COMMANDS)
def test_help_has_an_example(command):
    code, out, _ = xrd_nb(command, '--help')
    assert code == 0 and f'Example: xrd-nb {command}' in out

@pytest.mark.parametrize('words, complaint', [
    (('simulate', 'no/such/folder'), 'no/such/folder'),
    (('simulate', '.'), 'no .cif file'),
    (('simulate', 'bundled', '--radiation', 'CuX'), 'unknown radiation'),
    (('train', '--crystals', 'missing.parquet', '--out', 'run'), 'missing.parquet'),
    (('train', '--out', 'run', '--task', 'colour'), 'unknown task'),
    (('train', '--out', 'run', '--task', 'band_gap'), 'band_gap'), # which the bundled crystals do not know
    (('train', '--out', 'run', '--model', 'oracle'), 'unknown model'),
    (('train', '--out', 'run', '--split', 'lucky'), 'unknown split'),
    (('train', '--out', 'run', '--epochs', '0'), 'epoch'),
    (('evaluate', 'no_run'), 'not a run'),
    (('embed', 'no_run'), 'not a run'),
    (('calibrate', 'no_run'), 'not a run'),
    (('docs',), 'notebooks'),
])
def test_mistakes_get_one_line_and_exit_code_2(words, complaint, tmp_path):
    code, _, err = xrd_nb(*words, cwd=tmp_path)
    assert code == 2 and complaint in err and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path/'run').exists()

def test_simulate_a_folder_with_a_broken_file(cifs, tmp_path):
    code, out, err = xrd_nb('simulate', cifs, '-o', tmp_path/'patterns.parquet', '--plot', tmp_path/'first.png', '--quiet')
    patterns = pd.read_parquet(tmp_path/'patterns.parquet')
    assert code == 1 and 'broken.cif' in err
    assert len(patterns) == 50 and all(len(y) == 4250 and np.isclose(max(y), 1) for y in patterns.intensity)
    assert pd.read_csv(tmp_path/'patterns.rejected.csv').item.tolist() == ['broken.cif']
    assert (tmp_path/'first.png').read_bytes().startswith(b'\x89PNG')

def test_nothing_usable_is_exit_code_2(tmp_path):
    (tmp_path/'broken.cif').write_text('this is no CIF')
    code, _, err = xrd_nb('simulate', tmp_path, '--quiet', cwd=tmp_path)
    assert code == 2 and 'broken.cif' in err

def test_simulate_twice_with_a_seed(crystals, tmp_path):
    for name, seed in (('a', 1), ('b', 1), ('c', 2)): assert xrd_nb('simulate', crystals, '-o', tmp_path/name, '--seed', seed, '--quiet')[0] == 0
    a, b, c = (np.stack(pd.read_parquet(tmp_path/name).intensity) for name in 'abc')
    assert (a == b).all() and (a != c).any()

def test_train_refuses_other_settings(run, crystals):
    code, _, err = xrd_nb('train', '--crystals', crystals, '--out', run, '--epochs', 3, '--quiet')
    assert code == 2 and 'other epochs' in err

def test_evaluate_writes_a_report(run):
    code, out, _ = xrd_nb('evaluate', run, '--quiet')
    metrics = json.loads((run/'report'/'metrics.json').read_text())
    levels = {(r['rendering'], r['level']) for r in metrics['results']}
    assert code == 0 and 'baseline' in out and {('ideal', 'crystal_system'), ('lab', 'space_group')} <= levels
    page = (run/'report'/'index.html').read_text()
    assert 'http' not in page.replace('http-equiv', '') and page.count('data:image/png') >= 4

def test_evaluate_and_embed_other_crystals(run, cifs, tmp_path):
    code, out, _ = xrd_nb('evaluate', run, '--crystals', cifs, '-o', tmp_path/'report', '--quiet')
    assert code == 1 and 'asked about' in out and 'not finished' not in out # broken.cif
    shutil.copytree(run, tmp_path/'cut')
    log = tmp_path/'cut'/'log.csv'
    log.write_text(''.join(log.read_text().splitlines(True)[:2])) # one epoch of two
    assert 'not finished: 1 of 2' in xrd_nb('evaluate', tmp_path/'cut', '--quiet')[1]
    code, _, err = xrd_nb('embed', run, '--crystals', cifs, '-o', tmp_path/'map.html', '--quiet')
    assert code == 1 and 'broken.cif' in err
    assert (tmp_path/'map.html').stat().st_size > 1e6 and (tmp_path/'map.png').exists()

def test_embed_keeps_a_map_and_sets_files_on_it(run, tmp_path):
    page, scan, junk = tmp_path/'map.html', tmp_path/'scan.xy', tmp_path/'notes.txt'
    angle = np.arange(10, 80, 0.02)
    np.savetxt(scan, np.c_[angle, 50 + 1000*sum(np.exp(-(angle - at)**2/0.02) for at in (27.4, 31.7, 45.4))])
    junk.write_text('call the lab about the furnace')
    code, out, _ = xrd_nb('embed', run, '-o', page, '--patterns', scan, '--colour', 'density', '--dim', 3, '--quiet')
    assert code == 0 and 'trustworthiness' in out and 'PCA of the patterns' in out
    assert {'map.html', 'map.png', 'map.csv', 'map.json', 'map.parquet'} <= {p.name for p in tmp_path.iterdir()}
    code, out, err = xrd_nb('embed', run, '--onto', page, '--patterns', scan, '--patterns', junk, '-o', tmp_path/'new.html', '--quiet')
    assert code == 1 and 'scan.xy' in out and 'notes.txt' in err and (tmp_path/'new.html').exists()
    assert xrd_nb('embed', run, '--method', 'tsne', '-o', page, '--quiet')[0] == 0
    code, _, err = xrd_nb('embed', run, '--onto', page, '--patterns', scan, '-o', tmp_path/'new.html')
    assert code == 2 and 'only maps by pca' in err and err.count('\n') == 1

def test_embed_spares_what_is_there(run, crystals, tmp_path):
    own = tmp_path/'mine.parquet'
    shutil.copy(crystals, own)
    np.savetxt(tmp_path/'scan.csv', np.c_[np.arange(10, 40, 0.05), np.arange(600) % 7 + 100], delimiter=',')
    before = own.read_bytes(), (tmp_path/'scan.csv').read_bytes()
    for words in (('--crystals', own, '-o', tmp_path/'mine.html'), ('--crystals', own, '-o', own), ('--patterns', tmp_path/'scan.csv', '-o', tmp_path/'scan.html'), (run, '-o', tmp_path/'map.png')):
        code, _, err = xrd_nb('embed', *words, '--quiet')
        assert code == 2 and err.count('\n') == 1 and ('another name' in err or '.html' in err), err
    assert before == (own.read_bytes(), (tmp_path/'scan.csv').read_bytes())

def test_simulate_tells_each_reason_and_leaves_no_old_list(tmp_path):
    from pymatgen.core import Lattice, Structure
    Structure(Lattice.cubic(3000), ['Na'], [[0, 0, 0]]).to(filename=str(tmp_path/'a.cif'))
    (tmp_path/'b.cif').write_text('this is no CIF')
    code, _, err = xrd_nb('simulate', tmp_path, '-o', tmp_path/'p.parquet', '--quiet')
    assert code == 2 and err.count('\n') == 1
    assert not list(tmp_path.glob('p.parquet*'))
    reasons = pd.read_csv(tmp_path/'p.rejected.csv').reason
    assert len(reasons) == 2 and not reasons.str.contains('no crystal to simulate').any() and reasons.str.contains('reflections').sum() == 1
    (tmp_path/'b.cif').unlink()
    bundled_crystals()[0].to_pymatgen()[0].to(filename=str(tmp_path/'a.cif'))
    assert xrd_nb('simulate', tmp_path, '-o', tmp_path/'p.parquet', '--quiet')[0] == 0 and not (tmp_path/'p.rejected.csv').exists()
    before = (tmp_path/'p.parquet').read_bytes()
    Structure(Lattice.cubic(3000), ['Na'], [[0, 0, 0]]).to(filename=str(tmp_path/'a.cif'))
    assert xrd_nb('simulate', tmp_path, '-o', tmp_path/'p.parquet', '--quiet')[0] == 2 and (tmp_path/'p.parquet').read_bytes() == before

def test_damaged_tables_of_a_run(run, tmp_path):
    for name, content in (('log.csv', b''), ('log.csv', bytes(range(256))), ('log.csv', b'epoch,train_loss\n'), ('rejected.csv', b'')):
        shutil.rmtree(tmp_path/'copy', ignore_errors=True)
        shutil.copytree(run, tmp_path/'copy')
        (tmp_path/'copy'/name).write_bytes(content)
        config = json.loads((run/'config.json').read_text())
        commands = [('train', '--crystals', config['crystals'], '--out', tmp_path/'copy', '--epochs', 2, '--quiet')] + [('evaluate', tmp_path/'copy', '--quiet')]*(name == 'log.csv' and not content)
        for command in commands:
            code, _, err = xrd_nb(*command)
            assert code == 2 and name in err and 'damaged' in err and err.count('\n') == 1, (name, content[:9], err)

def test_calibrate_spares_the_run(run, tmp_path):
    before = (run/'model.safetensors').read_bytes()
    for out, word in ((run/'model.safetensors', 'folder of the run'), (tmp_path, 'is a folder'), (tmp_path/'card.md', '.safetensors')):
        code, _, err = xrd_nb('calibrate', run, '-o', out)
        assert code == 2 and word in err and err.count('\n') == 1, err
    assert (run/'model.safetensors').read_bytes() == before

def test_interrupted_says_so(tmp_path):
    command = [sys.executable, '-c', 'from xrd_nb.cli import main; main()', 'train', '--out', str(tmp_path/'run'), '--epochs', '50', '--size', 'small', '--quiet']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'NO_COLOR': '1'})
    begin = time.monotonic()
    while not (tmp_path/'run'/'last.ckpt').exists() and time.monotonic() < begin + 200: time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and 'xrd-nb: interrupted' in err and 'Traceback' not in err, err

def test_version_and_empty_names(tmp_path):
    assert xrd_nb('--version')[1].startswith('xrd-nb 0.') and 'Usage' in xrd_nb('-h')[1]
    code, _, err = xrd_nb('simulate', '', '-o', tmp_path/'p.parquet')
    assert code == 2 and 'empty' in err and err.count('\n') == 1

def test_embed_without_a_run(crystals, tmp_path):
    code, out, _ = xrd_nb('embed', '--crystals', crystals, '-o', tmp_path/'map.html', '--quiet')
    assert code == 0 and 'map:' in out and (tmp_path/'map.html').exists()
    code, _, err = xrd_nb('embed', tmp_path/'none.safetensors', '--crystals', crystals, '-o', tmp_path/'no.html', '--quiet')
    assert code == 2 and 'not a run' in err and err.count('\n') == 1

def test_a_mean_wavelength_says_so_in_one_line(crystals, tmp_path):
    code, _, err = xrd_nb('simulate', crystals, '--radiation', 'CoKa', '-o', tmp_path/'p.parquet', '--quiet')
    told = [line for line in err.splitlines() if 'CoKa1' in line]
    assert code == 0 and len(told) == 1 and told[0].startswith('xrd-nb: CoKa is the mean') and 'Warning' not in err

def test_a_property(crystals, tmp_path):
    assert xrd_nb('train', '--crystals', crystals, '--out', tmp_path/'run', '--task', 'density', '--epochs', 2, '--quiet')[0] == 0
    assert xrd_nb('evaluate', tmp_path/'run', '--quiet')[0] == 0
    rows = json.loads((tmp_path/'run'/'report'/'metrics.json').read_text())['results']
    assert {'network', 'nearest pattern', 'training mean', 'training median'} == {r['predicted_by'] for r in rows}

def test_demo(tmp_path):
    code, out, _ = xrd_nb('demo', '--out', tmp_path/'report', '--epochs', 1, '--quiet')
    assert code == 0 and 'crystal system' in out
    assert {'index.html', 'metrics.json', 'run'} <= {p.name for p in (tmp_path/'report').iterdir()}

def test_outputs_are_looked_at_first(tmp_path):
    own, two = tmp_path/'own.parquet', [tmp_path/'a'/'q.xy', tmp_path/'b'/'q.xy']
    bundled_crystals()[:6].to_parquet(own)
    before = own.read_bytes()
    for command in (('simulate', own, '-o', own), ('pack', own, '-o', own), ('index', own, '-o', own)):
        code, _, told = xrd_nb(*map(str, command))
        assert code == 2 and 'another name' in told and own.read_bytes() == before
    for command, word in ((('simulate', own, '-o', tmp_path/'p.parquet', '--plot', tmp_path/'p.xyz'), '.png'), (('pack', own, '-o', tmp_path/'packed'), '.parquet'),
                          (('index', own, '-o', tmp_path), 'folder'), (('identify', own, '--plot', tmp_path/'p.jpg'), '.png'), (('identify', own, own, '--plot', tmp_path/'p.png'), 'folder')):
        code, _, told = xrd_nb(*map(str, command))
        assert code == 2 and word in told.splitlines()[-1] and len(told.splitlines()) == 1, command
    assert sorted(p.name for p in tmp_path.iterdir()) == ['own.parquet'] # nothing was begun
    from xrd_nb.profiles import GRID, render
    from xrd_nb.reflections import powder_reflections
    for path in two:
        path.parent.mkdir()
        y = render(powder_reflections(bundled_crystals()[:1], two_theta=(4, 95)))[0]
        path.write_text('\n'.join(f'{a:.2f} {5 + 2000*b:.0f}' for a, b in zip(GRID.two_theta, y)))
    assert xrd_nb('identify', *map(str, two), '--wavelength', '1.5406', '--plot', str(tmp_path/'drawn'))[0] == 0
    assert sorted(p.name for p in (tmp_path/'drawn').iterdir()) == ['q-2.png', 'q.png'] # a picture each
