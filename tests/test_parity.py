"Every bundled crystal against pymatgen's XRDCalculator, with the same form factors."
import pandas as pd
from joblib import Parallel, delayed
from xrd_nb.crystals import bundled_crystals
from xrd_nb.reflections import compare_with_pymatgen

def test_every_bundled_crystal():
    crystals = bundled_crystals()
    told = pd.concat(Parallel(2)(delayed(compare_with_pymatgen)(crystals[i:i+100]) for i in range(0, len(crystals), 100)))
    assert len(told) == len(crystals)
    assert (told.missing + told.extra == 0).all(), told[told.missing + told.extra > 0]
    assert told.two_theta.max() <= 1e-4 and told.intensity.max() <= 1e-3, told.nlargest(5, 'intensity')
