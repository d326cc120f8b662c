"""Makes tests/golden/: crystals, and the lines that pymatgen 2026.5.4 gives for them (the last line of releases that merges
reflections within 1e-5° of the first of a group). Two steps, from the root of the repository:

    python tests/make_golden.py crystals    # in the project's environment: chooses and builds the crystals
    python -m venv old && old/bin/pip install pymatgen==2026.5.4 pymatgen-core==2026.4.16 pyarrow
    PYTHONPATH=. old/bin/python tests/make_golden.py lines    # there: 5–90°, λ = 1.540593 Å, cut-off 1e-3 of 100
"""
import sys, warnings
from importlib.metadata import version
from pathlib import Path
import numpy as np
from xrd_nb.crystals import CrystalTable, bundled_crystals

FOLDER = Path(__file__).parent/'golden'
SEED, PER_SYSTEM, MOST_LINES = 0, 24, 500

def choose(table, name, wanted, n, rng):
    "Up to `n` crystals where `wanted` is true, spread evenly over their numbers of sites: (name and place, table)."
    rows = rng.permutation(np.flatnonzero(wanted))
    rows = rows[np.argsort(table.frame.n_sites.to_numpy()[rows], kind='stable')]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int))]
    return [f'{name} {i}' for i in table.frame.id[rows]], table[rows].to_pymatgen()

def real_cells(rng):
    "Bundled crystals: every crystal system, ordered and disordered; and the centred ones' primitive cells."
    from xrd_nb.reflections import powder_reflections
    from xrd_nb.symmetry import SG_TO_CS
    table = bundled_crystals()
    table = table[np.diff(powder_reflections(table).offset) <= MOST_LINES] # keeps the file small
    frame, system = table.frame, SG_TO_CS[table.frame.space_group]
    for cs in range(7):
        for disordered in (False, True):
            wanted = (system == cs) & (frame.disordered == disordered).to_numpy()
            yield from zip(*choose(table, 'disordered' if disordered else 'ordered', wanted, PER_SYSTEM, rng))
    names, conventional = choose(table, 'conventional', (system >= 1) & ~frame.disordered.to_numpy(), 100, rng)
    for name, cell in zip(names, conventional):
        primitive = cell.get_primitive_structure()
        if len(primitive) < len(cell):
            yield name, cell
            yield name.replace('conventional', 'primitive'), primitive

def built_cells(rng):
    "Oblique cells with atoms at random, sheared descriptions of real cells, and supercells of 100 to 200 sites."
    from pymatgen.core import Lattice, Structure
    table = bundled_crystals()
    for i in range(80):
        near = 30 if i % 2 else 150
        alpha, beta, gamma = (near, 80, 85) if near == 150 else (near, near + 8, near + 15)
        lattice = Lattice.from_parameters(*rng.uniform(3, 7, 3), *(np.array([alpha, beta, gamma]) + rng.uniform(-3, 3, 3)))
        species = [{'Fe': .6, 'Mg': .3} if rng.random() < .2 else str(rng.choice(['O', 'Si', 'Ti', 'Pb'])) for _ in range(rng.integers(1, 9))]
        yield f'angle {near} no. {i}', Structure(lattice, species, rng.random((len(species), 3)))
    n, cubic = table.frame.n_sites.to_numpy(), (table.frame.space_group >= 195).to_numpy()
    for name, cell in zip(*choose(table, 'sheared', n < 12, 12, rng)):
        yield name, cell.make_supercell([[1, 0, 0], [2, 1, 0], [0, -3, 1]])
    for name, cell in zip(*choose(table, 'supercell', cubic & (n >= 13) & (n <= 25), 12, rng)): yield name, cell.make_supercell([2, 2, 2])

def make_crystals():
    "tests/golden/crystals.parquet"
    rng = np.random.default_rng(SEED)
    names, structures = zip(*real_cells(rng), *built_cells(rng))
    table = CrystalTable.from_pymatgen(list(structures), list(names))
    table = table[np.unique(table.frame.id, return_index=True)[1]]
    print(table, table.frame.n_sites.describe(), table.rejected, FOLDER.mkdir(exist_ok=True), table.to_parquet(FOLDER/'crystals.parquet'))

def make_lines():
    "tests/golden/lines.parquet: a row a crystal, ordered like the crystals."
    import pyarrow as pa, pyarrow.parquet as pq
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    assert version('pymatgen') == '2026.5.4' and version('pymatgen-core') == '2026.4.16'
    table, calculator = CrystalTable.read(FOLDER/'crystals.parquet'), XRDCalculator(1.540593)
    patterns = [calculator.get_pattern(s, two_theta_range=(5, 90)) for s in table.to_pymatgen()]
    columns = dict(id=list(table.frame.id), two_theta=[p.x.tolist() for p in patterns], intensity=[p.y.tolist() for p in patterns])
    pq.write_table(pa.table(columns), FOLDER/'lines.parquet', compression='zstd', compression_level=19, use_dictionary=['id'],
                   column_encoding={f'{c}.list.element': 'BYTE_STREAM_SPLIT' for c in ('two_theta', 'intensity')})
    print(len(patterns), 'crystals', sum(len(p.x) for p in patterns), 'lines')

if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    {'crystals': make_crystals, 'lines': make_lines}[sys.argv[1]]()
