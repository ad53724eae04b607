"""Pages are found: by words in both languages, and by what a search engine and a preview need."""

import re

import pytest

from slow import serve


@pytest.fixture(scope="module")
def tab(browser, site):
    server, address = serve(site)
    tab = browser.new_page()
    tab.address = address
    yield tab
    tab.close()
    server.shutdown()


QUERIES = {  # a page that must be among the first three
    "learning rate warmup": "warmup",
    "how to choose batch size": "batch_size",
    "label smoothing": "classification_losses",
    "critical batch size": "noise_scale",
    "cosine": "schedules",
    "calibration": "calibration",
    "梯度": "why_mini_batches",
    "损失": "loss",
    "衰减": "learning_rate_decay",
    "预热": "warmup",
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_word_finds_its_chapter(tab, query):
    tab.goto(f"{tab.address}search.html?q={query}")
    tab.wait_for_selector("ol.found > li", timeout=20_000)
    links = [link.get_attribute("href") for link in tab.locator("ol.found > li > a").all()[:3]]
    assert any(QUERIES[query] in link for link in links), links


def test_without_a_server_the_built_in_search_answers(browser, site):
    tab = browser.new_page()
    tab.goto((site / "search.html").as_uri() + "?q=momentum")
    tab.wait_for_selector("#search-results li a", timeout=30_000)
    tab.close()


def test_each_page_describes_itself(site, page):
    html = page.read_text("utf-8")
    if page.name != "404.html":
        (words,) = re.findall(r'<meta name="description" content="([^"]+)"', html)
        assert len(words) > 20 and 'property="og:title"' in html and "favicon.svg" in html
