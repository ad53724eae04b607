"""Every built page in a real browser: light and dark, phone and desk."""

import pytest

SCHEMES = {
    400: ("dark", "light"),
    1280: ("light", "dark"),
}  # the width, the scheme of the whole check, the other one
ONE_OF_A_KIND = ("index.html", "learning_rate_decay.html", "claims.html", "losses.html")
AXE = "([where, rules]) => axe.run(where, {preload: false, resultTypes: ['violations'], ...rules})"  # its preloading fetches what browsers forbid for files
PAGE, FRAME = {"include": [["html"]]}, {"exclude": [["article"]]}
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
OTHERS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "rules": {
        "label-content-name-mismatch": {"enabled": True},
        **{rule: {"enabled": False} for rule in COLOURS["runOnly"]},
    },
}
# What is folded in is part of the page.
OPEN_EVERYTHING = """() => {
    for (const part of document.querySelectorAll('details')) part.open = true
    for (const part of document.querySelectorAll('.toggle-hidden')) part.classList.remove('toggle-hidden')
}"""
# The columns move one after the other. When the article has kept its width for ten frames, its boxes know their sizes.
SETTLED = """() => new Promise(done => {
    let width = 0, kept = 0
    const look = () => {
        const now = document.querySelector('article, main, body').clientWidth
        kept = now === width ? kept + 1 : 0
        width = now
        kept < 10 ? requestAnimationFrame(look) : setTimeout(done, 20)
    }
    look()
})"""
# Boxes that scroll sideways, without a sign or where none should be.
CUT = """[...document.querySelectorAll('.formula, .formula *, span.math, span.math *, pre, .picture, .pst-scrollable-table-container')].filter(
    box => box.scrollWidth > box.clientWidth + 1 && box.checkVisibility()
        && ['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)
        && !box.classList.contains('wide')).map(box => box.outerHTML.slice(0, 120))"""
# Texts whose elements are of the same tags and classes all the way up have the same colours: one of each kind stands for all.
TAKE_REPEATED_TEXTS = """() => {
    const kinds = new Map(), seen = new Set(), texts = []
    const kind = (element) => {
        if (!element) return ''
        if (!kinds.has(element)) {
            const stripe = element.tagName === 'TR' ? element.rowIndex % 2 : ''
            const own = [element.tagName, stripe, element.className, element.style.cssText].join(' ')
            kinds.set(element, kind(element.parentElement) + ' / ' + own)
        }
        return kinds.get(element)
    }
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walk.nextNode()) texts.push(walk.currentNode)
    const shown = texts.filter(text => text.data.trim() && text.parentElement.checkVisibility())
    window.taken = shown.filter(text => {
        const before = seen.has(kind(text.parentElement))
        seen.add(kind(text.parentElement))
        return before
    }).map(text => [text, text.data])
    for (const [text] of window.taken) text.data = ''
}"""
GIVE_BACK = "() => { for (const [text, data] of window.taken) text.data = data }"


@pytest.fixture(scope="session")
def axe():
    from importlib.resources import files

    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


def inspect(browser, axe, path, widths=tuple(SCHEMES), frame=True):
    """Open a page, light and dark, on screens of these widths, and return what is wrong, as a list of sentences."""
    tab, found = (
        browser.new_page(viewport={"width": widths[0], "height": 900}, reduced_motion="reduce"),
        [],
    )
    tab.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "blob:"))
            or found.append(f"requests {request.url}")
        ),
    )
    tab.on(
        "console",
        lambda message: message.type == "error" and found.append(f"console: {message.text}"),
    )
    tab.on("pageerror", lambda error: found.append(f"script: {error}"))
    tab.goto(path.as_uri())
    # The other width is the same page on a screen that was turned.
    tab.evaluate(axe)
    tab.evaluate(OPEN_EVERYTHING)
    for width in widths:
        tab.set_viewport_size({"width": width, "height": 900})
        tab.evaluate(SETTLED)
        wide = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            found.append(f"{width}: is {wide} pixels wider than the screen")
        for _ in range(20):  # a busy machine draws the signs some frames after the boxes
            if not (cut := tab.evaluate(CUT)):
                break
            tab.wait_for_timeout(100)
        found += [f"{width}: is cut without a sign: {box}" for box in cut]
        # A scheme changes colours and nothing else, and a width changes what surrounds the article:
        # a second look at the article's structure, or at its colours in one scheme, takes axe the
        # longest and could find nothing new. What surrounds it is the same on all pages of a kind.
        whole, other = SCHEMES[width]
        looks = [(whole, PAGE, COLOURS)]
        if width == widths[0]:
            looks.insert(0, (whole, PAGE, OTHERS))
        elif frame:
            looks.insert(0, (whole, FRAME, OTHERS))
        if frame:
            looks.append((other, FRAME, COLOURS))
        for scheme, where, rules in looks:
            if rules is COLOURS:
                tab.evaluate(TAKE_REPEATED_TEXTS)
            tab.emulate_media(color_scheme=scheme)
            tab.evaluate("scheme => { document.documentElement.dataset.theme = scheme }", scheme)
            for violation in tab.evaluate(AXE, [where, rules])["violations"]:
                places = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
                found.append(f"{width}, {scheme}: axe {violation['id']}: {places}")
            if rules is COLOURS:
                tab.evaluate(GIVE_BACK)
    tab.close()
    return found


def test_page_in_browser(browser, axe, page):
    assert inspect(browser, axe, page, frame=page.name in ONE_OF_A_KIND) == []


BAD = """<!DOCTYPE html><html lang="en"><head><title>t</title><style>p {{ color: #eee; background: #fff }}</style></head>
<body><main><h1>t</h1><p>pale</p>{}</main></body></html>"""


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("", "axe color-contrast"),
        (
            "<pre><span>b</span><span>b</span><span style='color: #eee' class='k'>pale word</span></pre>",
            "pale word",
        ),
        (
            "<table><tr><td>a<tr style='color: #eee'><td>pale row<tr><td>a<tr><td>a</table>",
            "pale row",
        ),
        (
            "<style>tr:nth-child(even) { color: #eee }</style><table><tr><td>a<tr><td>pale</table>",
            "<td>pale",
        ),
        (
            "<div hidden><pre><span class='k'>b</span></pre></div><pre><span style='color: #eee' class='k'>pale word</span></pre>",
            "pale word",
        ),
        ("<img src='x.png'>", "axe image-alt"),
        ("<button aria-label='Toggle'>Show code</button>", "axe label-content-name-mismatch"),
        ("<div style='width: 3000px'>wide</div>", "wider than the screen"),
        (
            "<div class='formula' style='overflow: auto'><div style='width: 3000px'>x</div></div>",
            "cut without a sign",
        ),
        ("<details><summary>s</summary><img src='x.png'></details>", "axe image-alt"),
        ("<script>throw new Error('broken')</script>", "script: broken"),
        ("<img alt='a' src='http://127.0.0.1:9/a.png'>", "requests http"),
    ],
)
def test_a_bad_page_is_caught(browser, axe, tmp_path, body, complaint):
    path = tmp_path / "bad.html"
    path.write_text(BAD.format(body))
    assert any(complaint in found for found in inspect(browser, axe, path))


@pytest.mark.parametrize("width", SCHEMES)
@pytest.mark.parametrize("tag", ["article", "nav"])
def test_pale_text_is_caught_in_both_schemes(browser, axe, tmp_path, tag, width):
    path = tmp_path / "bad.html"
    path.write_text(BAD.replace("<p>", f"<{tag}><p>").replace("</p>", f"</p></{tag}>").format(""))
    complaints = inspect(browser, axe, path, [width])
    caught = {
        found.split(":")[0].split(", ")[1] for found in complaints if "axe color-contrast" in found
    }
    assert caught == (set(SCHEMES[width]) if tag == "nav" else {SCHEMES[width][0]})


def test_the_ledger_is_sorted_and_filtered(browser, site):
    tab = browser.new_page()
    tab.goto((site / "book" / "claims.html").as_uri())
    table, bar = tab.locator("table.ledger").first, tab.locator(".ledger-filters").first
    heads, shown = table.locator("thead th button"), table.locator("tbody tr:visible")

    def column(number):
        return [text.strip() for text in shown.locator(f"td:nth-child({number})").all_inner_texts()]

    names, seeds = column(1), [int(text) for text in column(4)]
    assert names == sorted(names) and len(names) == 24
    heads.nth(3).click()
    assert [int(text) for text in column(4)] == sorted(seeds)
    heads.nth(3).click()
    assert [int(text) for text in column(4)] == sorted(seeds, reverse=True)
    assert table.locator("thead th").nth(3).get_attribute("aria-sort") == "descending"
    bar.locator("select").nth(1).select_option("refuted")
    assert len(column(2)) > 0 and all(text.startswith("refuted") for text in column(2))
    assert bar.inner_text().endswith(f"{len(column(2))} of {len(names)} claims")
    bar.locator("select").nth(0).select_option("3.1.2")
    assert all("3.1.2" in text for text in column(1))
    bar.locator("select").nth(0).select_option("")
    bar.locator("select").nth(1).select_option("")
    assert sorted(column(1)) == names
    tab.close()
