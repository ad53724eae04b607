"""Chapters that run in a browser, as far as that shows without the packages that a reader's browser fetches."""

import hashlib
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from slow import serve
from test_browser import AXE, COLOURS, OTHERS, PAGE, axe  # noqa: F401

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))
import lab  # noqa: E402
import lite  # noqa: E402

CHAPTERS = lab.chapters(ROOT)
TOOLS = Path(f"{sys.prefix}-lite")
CANNOT = {"hardware", "efficiency", "distributed", "automl", "privacy", "language_schedules"}


@pytest.fixture(scope="module")
def out(site):
    folder = site / "lite"
    if not folder.exists():
        pytest.skip("the site was built without chapters that run in a browser: npm was not found")
    return folder


@pytest.fixture(scope="module")
def official():
    with tarfile.open(TOOLS / f"pyodide-{lite.VERSION}.tgz") as archive:
        return json.load(archive.extractfile("package/pyodide-lock.json"))["packages"]


@pytest.fixture(scope="module")
def packages(out):
    return json.loads((out / "static/pyodide/pyodide-lock.json").read_text("utf-8"))["packages"]


def test_every_package_is_pyodides_own_or_lies_here(out, packages, official):
    outside = {name for name, entry in packages.items() if "/" in entry["file_name"]}
    for name, entry in packages.items():
        if name in outside:
            said = official[name]
            assert entry == {**said, "file_name": lite.CDN + said["file_name"]}
        else:
            path = out / "static/pyodide" / entry["file_name"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert {"numpy", "scipy", "scikit-learn", "matplotlib", "ipython", "joblib"} <= outside
    names = {lite.normal(name) for name in packages}
    for entry in packages.values():
        assert {lite.normal(name) for name in entry["depends"]} <= names


def test_the_library_comes_with_what_the_chapters_need(out, packages):
    assert set(packages["trainlab"]["depends"]) == {
        *("numpy", "scikit-learn", "matplotlib", "joblib", "trainlab-browser")
    }
    wheels = [
        out / "static/pyodide" / packages[n]["file_name"] for n in ("trainlab", "trainlab-browser")
    ]
    held = {
        name: zipfile.ZipFile(path) for path in wheels for name in zipfile.ZipFile(path).namelist()
    }
    for path in (ROOT / "lib").rglob("*.py"):
        assert (
            held[name := path.relative_to(ROOT / "lib").as_posix()].read(name) == path.read_bytes()
        )
    from trainlab import language

    text = json.loads(held["trainlab/documentation.json"].read("trainlab/documentation.json"))
    assert tuple(text) == language.documentation()
    # Pyodide loads a package when a cell imports it, by the names in its list; the rest is Python's own.
    known = {name for entry in packages.values() for name in entry["imports"]} | set(
        sys.stdlib_module_names
    )
    for page in CHAPTERS:
        notebook = json.loads((ROOT / f"{page}.ipynb").read_text("utf-8"))
        unknown = lite.imports(notebook) - known
        assert bool(lite.why_not(page, notebook)) == (page.split("/")[-1] in CANNOT)
        assert not unknown or lite.why_not(page, notebook), f"{page} imports {unknown}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_says_where_it_runs_and_its_copy_is_there(site, out, name):
    page = (site / f"{name}.html").read_text("utf-8")
    (words,) = re.findall(r'<p class="run-here">(.*?)</p>', page)
    copy = json.loads((out / "files" / f"{name}.ipynb").read_text("utf-8"))
    assert copy["metadata"]["kernelspec"]["name"] == "python"
    assert copy["metadata"]["language_info"] == {"name": "python"}
    first, code = (
        "".join(copy["cells"][0]["source"]),
        [c for c in copy["cells"] if c["cell_type"] == "code"],
    )
    assert code and all(cell["outputs"] == [] for cell in code)
    if name.split("/")[-1] in CANNOT:
        assert "cannot run in a browser" in words and "cannot run in a browser" in first
        assert "href" not in words
        return
    address = urlsplit(re.search('href="([^"]+)"', words)[1])
    assert (site / f"{name}.html").parent.joinpath(address.path).resolve().is_file()
    (path,) = parse_qs(address.query)["path"]
    assert path == f"{name}.ipynb" and "MB" in words and "cdn.jsdelivr.net" in words
    sources = "".join("".join(cell["source"]) for cell in code)
    assert ".jsonl" not in sources
    for record in re.findall(r"records/([\w{}]+\.\w+)", sources):
        assert list((out / "files/chapters/records").glob(re.sub("{.*?}", "*", record)))
    listed = json.loads((out / "api/contents" / Path(name).parent / "all.json").read_text("utf-8"))
    assert f"{name}.ipynb" in [each["path"] for each in listed["content"]]


def test_the_configuration_names_no_place_but_pyodides(out):
    about = (out / "jupyter-lite.json").read_text("utf-8") + (
        out / "notebooks/jupyter-lite.json"
    ).read_text("utf-8")
    assert re.findall("https?://(?!jupyter|json-schema)", about) == []
    settings = json.loads((out / "jupyter-lite.json").read_text("utf-8"))["jupyter-config-data"]
    kernel = settings["litePluginSettings"]["@jupyterlite/pyodide-kernel-extension:kernel"]
    assert kernel["disablePyPIFallback"] and kernel["pyodideUrl"].startswith(
        "./static/pyodide/pyodide.mjs"
    )


def test_a_folder_of_packages_is_taken_if_it_is_whole_and_pyodides(tmp_path):
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir(), target.mkdir()
    entry = {"file_name": "a.whl", "sha256": hashlib.sha256(b"a").hexdigest()}
    with pytest.raises(SystemExit, match=f"lacks these files:\n{lite.CDN}a.whl"):
        lite.placed({"a": entry}, folder, target)
    (folder / "a.whl").write_bytes(b"a")
    assert lite.placed({"a": entry}, folder, target) == {"a": entry}
    assert (target / "a.whl").read_bytes() == b"a"
    (folder / "a.whl").write_bytes(b"ab")
    with pytest.raises(SystemExit, match="another one"):
        lite.placed({"a": entry}, folder, target)


def test_a_click_opens_the_chapter_and_only_then_asks_for_packages(site, out, browser, axe):  # noqa: F811
    server, address = serve(site)
    tab, asked = browser.new_page(), []
    tab.on("request", lambda request: asked.append(request.url))
    tab.route("https://**", lambda route: route.abort())
    try:
        tab.goto(f"{address}{CHAPTERS[1]}.html")
        assert [url for url in asked if not url.startswith(address) or "/lite/" in url] == []
        tab.evaluate(axe)
        for rules in (OTHERS, COLOURS):
            assert tab.evaluate(AXE, [PAGE, rules])["violations"] == []
        button = tab.get_by_role("link", name="Run this chapter in your browser")
        button.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".jp-Notebook .jp-MarkdownCell", timeout=90_000)
        tab.locator("strong", has_text="This copy runs in your browser").wait_for(timeout=30_000)
        outside = {url for url in asked if url.startswith("http") and not url.startswith(address)}
        assert all(url.startswith(lite.CDN) for url in outside)
        assert tab.locator(".jp-Dialog").count() == 0
    finally:
        tab.close()
        server.shutdown()
