"Lines against those that pymatgen 2026.5.4 gave for 515 crystals (tests/make_golden.py made the files)."
from pathlib import Path
from unittest.mock import patch
import numpy as np, pandas as pd, pytest
from xrd_nb.crystals import CrystalTable, bundled_crystals
from xrd_nb.reflections import d_spacing, lorentz_polarisation, powder_reflections, structure_factors
from xrd_nb.symmetry import SG_TO_CS

FOLDER = Path(__file__).parent/'golden'

def golden():
    "The crystals and pymatgen's lines, end to end, with how many each crystal has."
    lines = pd.read_parquet(FOLDER/'lines.parquet')
    crystals = CrystalTable.read(FOLDER/'crystals.parquet')
    assert crystals.frame.id.tolist() == lines.id.tolist()
    return crystals, lines.two_theta.str.len().to_numpy(), np.concatenate(lines.two_theta), np.concatenate(lines.intensity)

def test_variety():
    "What the golden set must hold."
    crystals, count, *_ = golden()
    frame, n = crystals.frame, crystals.frame.n_sites
    edge = np.linalg.norm(crystals.lattice, axis=2)
    cosine = np.einsum('nij,nkj->nik', crystals.lattice, crystals.lattice)/edge[:, :, None]/edge[:, None]
    angle = np.degrees(np.arccos(np.clip(cosine[:, (1, 0, 0), (2, 2, 1)], -1, 1))) # α, β, γ
    assert len(frame) >= 300 and n.min() == 1 and 150 <= n.max() <= 200
    assert set(SG_TO_CS[frame.space_group[frame.space_group > 0]]) == set(range(7)) and frame.disordered.sum() >= 50
    assert (angle < 34).any(1).sum() >= 20 and (angle > 146).any(1).sum() >= 20
    assert frame.id.str.startswith('primitive').sum() >= 20 and len(count) == len(frame)

@pytest.mark.parametrize('exact, tolerance', [(False, 1e-6), (True, 1e-10)])
def test_lines(exact, tolerance):
    "The same lines, to the last digits."
    crystals, count, two_theta, intensity = golden()
    lines = powder_reflections(crystals, form_factors='pymatgen', exact=exact)
    assert (np.diff(lines.offset) == count).all(), crystals.frame.id[np.diff(lines.offset) != count].tolist()
    assert np.abs(lines.two_theta - two_theta).max() <= 1e-9
    assert np.abs(lines.intensity - intensity).max() <= tolerance

def gemmi_amplitudes(crystal, hkl):
    "|F| by gemmi: every row of the cell is a site in P1."
    import gemmi
    small, matrix = gemmi.SmallStructure(), crystal.lattice[0]
    edge = np.linalg.norm(matrix, axis=1)
    angles = [np.degrees(np.arccos(matrix[i] @ matrix[j]/edge[i]/edge[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
    small.cell = gemmi.UnitCell(*edge, *angles)
    for frac, number, occupancy, b_iso in zip(crystal.frac, crystal.number, crystal.occupancy, crystal.b_iso):
        site = gemmi.SmallStructure.Site()
        site.fract, site.element, site.occ, site.u_iso = gemmi.Fractional(*frac), gemmi.Element(int(number)), occupancy, b_iso/(8*np.pi**2)
        small.add_site(site)
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    return np.array([abs(calculator.calculate_sf_from_small_structure(small, h.tolist())) for h in hkl])

def test_gemmi_structure_factors():
    """|F| of members of every fourth bundled crystal. gemmi evaluates form factors in single precision (6e-8 of each f), so an
    amplitude that is a small rest of large terms differs by more of itself: relative 1e-6 holds above 10 % of the strongest,
    1e-6 of the strongest for all."""
    crystals, rng = bundled_crystals()[::4], np.random.default_rng(0)
    crystals.b_iso = rng.uniform(0, 2, len(crystals.b_iso))
    lines = powder_reflections(crystals, members=True, cutoff=1e-7)
    member_line = np.repeat(np.arange(len(lines.two_theta)), np.diff(lines.member_offset))
    compared = 0
    for i in range(len(crystals)):
        members = np.arange(*lines.member_offset[lines.offset[[i, i+1]]])
        strongest = members[np.argmax(lines.member_intensity[members])]
        members = np.append(rng.choice(members, min(len(members), 30), replace=False), strongest)
        factor = lorentz_polarisation(lines.two_theta[member_line[members]])
        ours, theirs = np.sqrt(lines.member_intensity[members]/factor), gemmi_amplitudes(crystals[i], lines.member_hkl[members])
        ours, theirs = ours/ours[-1], theirs/theirs[-1] # our lines are scaled to 100
        strong = theirs > 0.1*theirs.max()
        assert np.abs(ours/theirs - 1)[strong].max() <= 1e-6 and np.abs(ours - theirs).max() <= 1e-6*theirs.max(), crystals.frame.id[i]
        compared += strong.sum()
    assert len(crystals) == 750 and compared > 10_000

def test_gemmi_small_structure_factors():
    """With the form-factor values that gemmi itself computes, in single precision, the sum agrees to 1e-6 of every |F| above 1e-3 of the
    strongest: what is left above is gemmi's precision."""
    import gemmi
    def gemmi_form_factor(number, s, table): return np.array([gemmi.Element(int(number)).it92.calculate_sf(x*x) for x in s])
    crystals, rng, compared = bundled_crystals()[::100], np.random.default_rng(1), 0
    crystals.b_iso = rng.uniform(0, 2, len(crystals.b_iso))
    hkl = rng.integers(-8, 9, (200, 3))
    for i in range(len(crystals)):
        seen = hkl[hkl.any(1)][d_spacing(crystals.lattice[i], hkl[hkl.any(1)]) > 1.1]
        with patch('xrd_nb.reflections.form_factor', gemmi_form_factor): ours = np.abs(structure_factors(crystals[i], seen))
        theirs = gemmi_amplitudes(crystals[i], seen)
        strong = theirs > 1e-3*theirs.max(initial=0)
        assert np.abs(ours/theirs - 1)[strong].max(initial=0) <= 1e-6, crystals.frame.id[i]
        compared += strong.sum()
    assert compared > 500
