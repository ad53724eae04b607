"""A claim says itself, stores itself, and refuses to be half a claim."""

import json
import re

import numpy as np
import pytest

from trainlab.evidence import MIME, Claim, Interval

PARTS = {
    "name": "C02",
    "section": "2.1.3",
    "sentence": "Decay helps.",
    "verdict": "depends",
    "note": "on noise",
    "effects": {
        "ratio": Interval(0.26789, 0.2, 0.3, n=8, confidence=1 - 0.05 / 9),
        "runs": 1234,
        "share": np.float64(0.123456),
        "best": "cosine",
    },
    "confirms": {"it does": np.True_, "and it does not": False},
    "seeds": 8,
    "budget": "400 updates",
    "limits": "one task",
}


def test_it_prints_itself():
    assert str(Claim(**PARTS)).splitlines() == [
        "Verdict C02: depends - on noise",
        "    Decay helps. (section 2.1.3)",
        "    ratio: 0.268 [0.2, 0.3]",
        "    runs: 1,234",
        "    share: 0.123",
        "    best: cosine",
        "    8 seeds; 400 updates",
        "    Limits: one task",
        "Confirmed: it does",
        "NOT CONFIRMED in this run: and it does not",
    ]


def test_several_sections_and_no_note():
    lines = str(Claim(**PARTS | {"section": "2.1.3, 6.2", "note": "", "effects": {}})).splitlines()
    assert lines[:3] == [
        "Verdict C02: depends",
        "    Decay helps. (sections 2.1.3, 6.2)",
        "    8 seeds; 400 updates",
    ]


@pytest.mark.parametrize("seeds, text", [(1, "1 seed; "), (2, "2 seeds; "), (3, "3 seeds; ")])
def test_one_seed_is_no_seeds(seeds, text):
    assert f"    {text}400 updates" in str(Claim(**PARTS | {"seeds": seeds})).splitlines()


def test_its_record_is_json_in_order_with_three_digits():
    record = json.loads(json.dumps(Claim(**PARTS).record))
    assert list(record) == [
        "name",
        "section",
        "sentence",
        "verdict",
        "note",
        "seeds",
        "budget",
        "limits",
        "effects",
        "confirms",
    ]
    assert record["effects"] == [
        {
            "what": "ratio",
            "text": "0.268 [0.2, 0.3]",
            "mean": 0.268,
            "low": 0.2,
            "high": 0.3,
            "n": 8,
            "confidence": 0.994444,
        },
        {"what": "runs", "text": "1,234"},
        {"what": "share", "text": "0.123"},
        {"what": "best", "text": "cosine"},
    ]
    assert record["confirms"] == [
        {"sentence": "it does", "holds": True},
        {"sentence": "and it does not", "holds": False},
    ]


def test_an_infinite_end_is_left_out_of_the_record():
    lost = Claim(**PARTS | {"effects": {"ratio": Interval(np.inf, -np.inf, np.inf, n=3)}}).record[
        "effects"
    ]
    assert lost == [{"what": "ratio", "text": "inf [-inf, inf]", "n": 3, "confidence": 0.95}]


def test_a_notebook_shows_its_text_and_stores_its_record():
    claim = Claim(**PARTS)
    assert claim._repr_mimebundle_() == {"text/plain": str(claim), MIME: claim.record}


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"verdict": "true"}, ValueError, "verdict must be one of"),
        ({"name": ""}, ValueError, "name must be a text, received ''"),
        ({"sentence": None}, ValueError, "sentence must be a text, received None"),
        ({"limits": " "}, ValueError, "limits must be a text, received ' '"),
        ({"budget": 400}, ValueError, "budget must be a text, received 400"),
        ({"section": ""}, ValueError, "section must be a text"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1"),
        ({"seeds": range(8)}, TypeError, "seeds must be"),
        ({"confirms": {}}, ValueError, "a claim needs a sentence that is confirmed, received none"),
        (
            {"confirms": {"all": np.array([True])}},
            TypeError,
            "a sentence holds or does not, received array([ True]) for 'all'",
        ),
        ({"confirms": {"all": 1}}, TypeError, "a sentence holds or does not, received 1 for 'all'"),
        (
            {"effects": {"x": [1, 2]}},
            TypeError,
            "an effect must be an interval, a number or a text, received [1, 2] for 'x'",
        ),
        ({"effects": {"x": True}}, TypeError, "received True for 'x'"),
    ],
)
def test_half_a_claim_is_refused(change, error, words):
    with pytest.raises(error, match=re.escape(words)):
        Claim(**PARTS | change)
