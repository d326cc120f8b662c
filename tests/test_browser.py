"The interactive map and the site in a real browser, Chromium driven by selenium. Written by hand."
import functools, http.server, json, re, shutil, threading
from pathlib import Path
from urllib.parse import unquote
import numpy as np, pandas as pd, pytest

pytest.importorskip('selenium', reason="needs the developer tools: pip install -e '.[dev]'")
CHROMIUM, DRIVER = shutil.which('chromium') or shutil.which('chromium-browser'), shutil.which('chromedriver')
if not (CHROMIUM and DRIVER): pytest.skip('needs chromium and chromedriver: apt-get install chromium chromium-driver', allow_module_level=True)

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from xrd_nb.embeddings import map_html

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--enable-unsafe-swiftshader', '--no-first-run', '--window-size=1200,850',
         '--disable-background-networking', '--disable-component-update', '--disable-sync')

@pytest.fixture(scope='module')
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS: options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', dict(browser='ALL', performance='ALL'))
    options.page_load_strategy = 'eager'
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()

def complaints(browser): # of the console: errors, failed requests among them
    return [e['message'][:300] for e in browser.get_log('browser') if e['level'] == 'SEVERE']

def requests(browser): # addresses asked for since the last call
    messages = (json.loads(e['message'])['message'] for e in browser.get_log('performance'))
    return [m['params']['request']['url'] for m in messages if m['method'] == 'Network.requestWillBeSent']

def offline(browser, off):
    browser.execute_cdp_cmd('Network.enable', {})
    browser.execute_cdp_cmd('Network.emulateNetworkConditions', dict(offline=off, latency=0, downloadThroughput=-1, uploadThroughput=-1))

def wait(browser, script, seconds=60):
    return WebDriverWait(browser, seconds, 0.1).until(lambda b: b.execute_script(f'return {script}'))

# --- the map

EVIL = '<script>document.title = "broken"</script><img src=x onerror="document.title = \'broken\'">'

def colourful(browser): # pixels of the map that are neither white nor grey
    import io
    from matplotlib.image import imread
    pixels = imread(io.BytesIO(browser.get_screenshot_as_png()))[100:-60, :-150, :3]
    return int((np.ptp(pixels, axis=2) > 0.2).sum())

@pytest.mark.parametrize('n, dim', [(800, 2), (800, 3), (6000, 2)])
def test_map(browser, tmp_path, n, dim):
    dice = np.random.default_rng(0)
    frame = pd.DataFrame(dict(id=[f'id{i}' for i in range(n)], formula='Al2O3', space_group=167, crystal_system='trigonal', band_gap=dice.random(n)))
    frame.loc[[7, 8], ['formula', 'space_group', 'crystal_system']] = 'SiO2', 152, 'hexagonal'
    frame.loc[9, ['formula', 'id']] = EVIL
    stars = pd.DataFrame(dict(name=[EVIL], x=[0.], y=[0.], z=[0.]))
    patterns = dice.random((n, 4250), dtype=np.float32) if n < 5000 else None
    page = map_html(dice.normal(size=(n, dim)), frame, 'crystal_system', tmp_path/'map.html', 'A map', patterns, stars)
    offline(browser, True)
    browser.get(page.as_uri())
    wait(browser, 'document.body.dataset.ready')
    drawn = browser.execute_script('return shown.map(t => [t.type, t.name, t.which.length])')
    kind = {2: 'scattergl' if n > 5000 else 'scatter', 3: 'scatter3d'}[dim]
    assert drawn == [[kind, 'trigonal', n - 2], [kind, 'hexagonal', 2], [kind, 'own samples', 0]]
    assert colourful(browser) > 2000
    ask = 'document.getElementById("search").value = arguments[0]; return search().then(() => [document.getElementById("found").textContent, hits])'
    assert browser.execute_script(ask, 'O2Si') == ['2 found', [7, 8]] # in whatever order
    assert browser.execute_script('return shown.find(t => t.name === "found").which') == [7, 8]
    if dim == 2: # both hits are in sight, and the middle between them is the middle of the map
        at, ranges = browser.execute_script('return [hits.map(i => axes[0][i]), document.getElementById("map").layout.xaxis.range]')
        assert ranges[0] < min(at) and max(at) < ranges[1] and abs(sum(at) - sum(ranges)) < 1e-3
    assert browser.execute_script(ask, 'Xe')[0] == '0 found' and browser.execute_script(ask, '')[0] == f'{n:,} crystals'
    told = browser.execute_script('neighbours(9); return document.getElementById("near").textContent')
    assert EVIL in told and told.count('Al2O3') + told.count('SiO2') == 10 # itself, and ten neighbours
    assert len(browser.execute_script('return [...document.querySelectorAll("#near canvas")]')) == (n < 5000)
    browser.execute_script('const c = document.getElementById("colour"); c.value = "band gap"; return c.onchange()')
    assert browser.execute_script('return shown[0].marker.colorscale') == 'Cividis'
    assert browser.title == 'A map' and not browser.execute_script('return document.querySelectorAll("img, #map script, #near script").length')
    assert complaints(browser) == []
    asked = [a for a in requests(browser) if not a.startswith(('data:', 'blob:'))]
    assert asked == [page.as_uri()]
    offline(browser, False)

def test_pointer_tells(browser, tmp_path):
    frame = pd.DataFrame(dict(id=['a', 'b', 'c'], formula=['NaCl', 'KCl', 'MgO'], space_group=225, density=[2.2, np.nan, 3.6]))
    page = map_html(np.array([[0., 0], [-1, -1], [1, 1]]), frame, 'density', tmp_path/'map.html', patterns=np.eye(3, 4250))
    browser.get(page.as_uri())
    wait(browser, 'document.body.dataset.ready')
    x, y = browser.execute_script('''const m = document.getElementById("map"), box = m.getBoundingClientRect(), f = m._fullLayout;
        return [box.left + f.xaxis._offset + f.xaxis.d2p(0), box.top + f.yaxis._offset + f.yaxis.d2p(0)];''')
    for step in (8, 4, 0): browser.execute_cdp_cmd('Input.dispatchMouseEvent', dict(type='mouseMoved', x=x + step, y=y))
    wait(browser, '!document.getElementById("tip").hidden', 10)
    told = browser.execute_script('return [...document.querySelectorAll("#tip div")].map(d => d.textContent)')
    assert told == ['NaCl · Fm-3m (225)', 'a', 'density: 2.2'] and browser.execute_script('return document.querySelectorAll("#tip canvas").length') == 1

# --- the site

if (ROOT/'nbs').is_dir() and pytest.importorskip('nbdev', reason='the site is built with the developer tools'):
    from xrd_nb.chapters import notebooks
    from xrd_nb.docs import build_site
    PAGES = len(notebooks(ROOT))
needs_clone = pytest.mark.skipif(not (ROOT/'nbs').is_dir(), reason='needs a clone; the wheel has no notebooks')

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    return build_site(tmp_path_factory.mktemp('docs')/'site', root=ROOT)

@pytest.fixture(scope='module')
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()

def names(site):
    return sorted(p.relative_to(site).as_posix() for p in site.rglob('*.html'))

# WCAG 2.1: the contrast of every visible text with what it stands on, once for each kind of element
CONTRAST = r'''
const rgb = text => { const n = text.match(/[\d.]+/g).map(Number), k = text.startsWith('color(') ? 255 : 1; return [...n.slice(0, 3).map(v => v*k), n[3] ?? 1]; };
const over = (top, below) => [0, 1, 2].map(k => top[k]*top[3] + below[k]*(1 - top[3])).concat(1);
const light = c => c.slice(0, 3).map(v => v/255).map(v => v <= 0.04045 ? v/12.92 : ((v + 0.055)/1.055)**2.4).reduce((s, v, k) => s + v*[0.2126, 0.7152, 0.0722][k], 0);
const known = new Map(), white = [255, 255, 255, 1];
function ground(e) { // the colour behind an element, and its opacity
  if (!e) return [matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0, 1] : white, 1];
  if (!known.has(e)) { const s = getComputedStyle(e), [below, opacity] = ground(e.parentElement); known.set(e, [over(rgb(s.backgroundColor), below), opacity*s.opacity]); }
  return known.get(e);
}
const bad = {}, seen = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.data.trim(), e = walk.currentNode.parentElement;
  if (!text || seen.has(e)) continue;
  seen.add(e);
  if (e.closest('svg, script, style') || !e.checkVisibility({visibilityProperty: true})) continue;
  const s = getComputedStyle(e), [below, opacity] = ground(e), ink = rgb(s.color), px = parseFloat(s.fontSize);
  const [high, low] = [light(over([...ink.slice(0, 3), ink[3]*opacity], below)), light(below)].sort((a, b) => b - a), ratio = (high + 0.05)/(low + 0.05);
  if (ratio < (px >= 24 || px >= 18.66 && s.fontWeight >= 700 ? 3 : 4.5)) bad[`${e.tagName}.${e.className} ${s.color} on ${below}`] = `${ratio.toFixed(2)} ${text.slice(0, 30)}`;
}
return bad;'''

def scheme(browser, name):
    browser.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=[dict(name='prefers-color-scheme', value=name)]))
    wait(browser, f'document.documentElement.classList.contains("quarto-dark") === {str(name == "dark").lower()}')

@needs_clone
def test_site_pages(browser, site, address):
    "Every page: no complaint, no failed or foreign request, words for figures, legible in both themes, no wider than a phone."
    found, links, ids = {}, {}, {}
    browser.get_log('browser'), requests(browser)
    for name in names(site):
        browser.get(address + name)
        wait(browser, 'document.readyState === "complete"')
        browser.execute_script('document.head.append(Object.assign(document.createElement("style"), {textContent: "* { transition: none !important; }"}))')
        looked = {f'{theme}: {k}': v for theme in ('light', 'dark') for k, v in (scheme(browser, theme), browser.execute_script(CONTRAST))[1].items()}
        scheme(browser, 'light')
        browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', dict(width=390, height=844, deviceScaleFactor=1, mobile=True))
        wide, bare, dead, links[name], ids[name] = browser.execute_script('''return [
            document.documentElement.scrollWidth > 390 || innerWidth > 390 ? [document.documentElement.scrollWidth, innerWidth] : [],
            [...document.images].filter(i => !i.alt.trim()).map(i => i.src.slice(0, 60)), [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 60)),
            [...document.querySelectorAll("a[href]")].map(a => a.getAttribute("href")), [...document.querySelectorAll("[id]")].map(e => e.id)];''')
        browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        foreign = [a for a in requests(browser) if not a.startswith((address, 'data:'))]
        problems = dict(complaints=complaints(browser), foreign=foreign, contrast=looked, wide=wide, bare=bare, dead=dead)
        if any(problems.values()): found[name] = {k: v for k, v in problems.items() if v}
    assert len(links) == PAGES and not found, found
    assert not broken(links, ids)

def broken(links, ids): # links and anchors that lead nowhere inside the site
    lost = []
    for name, targets in links.items():
        for link in targets:
            if re.match(r'[a-z]+:', link): continue
            path, _, anchor = unquote(link).partition('#')
            inside = (Path('/')/name).parent.joinpath(path).resolve().relative_to('/').as_posix() if path else name
            inside = 'index.html' if inside == '.' else inside
            if inside not in ids or anchor and anchor not in ids[inside]: lost.append(f'{name}: {link}')
    return sorted(set(lost))

@needs_clone
def test_site_from_a_folder_without_network(browser, site):
    offline(browser, True)
    for name in names(site):
        browser.get((site/name).as_uri())
        wait(browser, 'document.readyState === "complete"')
        assert browser.execute_script('return document.querySelector("main h1").textContent.trim().length') > 2
    assert complaints(browser) == []
    assert [a for a in requests(browser) if not a.startswith(('file:', 'data:'))] == []
    offline(browser, False)

@needs_clone
@pytest.mark.parametrize('served', [True, False])
def test_search(browser, site, address, served):
    browser.get(address + 'index.html' if served else (site/'index.html').as_uri())
    box = wait(browser, 'document.querySelector("#quarto-search input")')
    browser.execute_script('arguments[0].focus()', box)
    box.send_keys('powder_reflections')
    hit = wait(browser, '[...document.querySelectorAll("#quarto-search a[href]")].find(a => a.href.includes("reflections.html#"))', 20)
    assert 'powder_reflections' in hit.text
    browser.get(hit.get_attribute('href'))
    assert browser.execute_script('return !!document.getElementById(decodeURIComponent(location.hash.slice(1)))')
    assert complaints(browser) == []
