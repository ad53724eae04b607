"""Updates to a target: what wins, when a run gives up, and what is refused."""

import numpy as np
import pytest

from trainlab import data, losses, models
from trainlab.evidence import Arm, Race, contest
from trainlab.optimizers import SGD, Adam
from trainlab.schedules import Constant
from trainlab.trainer import Trainer

MODEL = models.Linear(10, 1, dtype=np.float64)
TRAIN = data.diabetes().train
RACE = Race(MODEL, losses.squared_error, TRAIN, target=0.6, most=300, batch_size=32)


def loss_after(updates, rate, seed, watched=None):
    trainer = Trainer(
        MODEL, losses.squared_error, SGD(), Constant(rate), batch_size=32, replicas=1, seed=seed
    )
    trainer.fit(*TRAIN, steps=updates, progress=False)
    return float(trainer.evaluate(TRAIN.x[:watched], TRAIN.y[:watched])[0])


@pytest.mark.parametrize("watched", [None, 50])
def test_the_loss_passes_the_target_at_that_update(watched):
    race = Race(MODEL, losses.squared_error, TRAIN, 0.6, 300, 32, watched=watched)
    reached = race([{"schedule": Constant(0.02)}], seeds=[3])["updates"].item()
    looks = [1]
    while looks[-1] < reached:
        looks.append(int(looks[-1] * 1.2) + 1)
    before, after = (loss_after(look, 0.02, 3, watched) for look in looks[-2:])
    assert after <= 0.6 < before
    straight = looks[-2] + (before - 0.6) / (before - after) * (looks[-1] - looks[-2])
    assert reached == pytest.approx(straight, rel=1e-9)


def test_it_ends_with_the_first_setting_that_has_all_its_seeds_there():
    settings = [{"schedule": Constant(rate)} for rate in (1e-4, 0.05, 0.02)]
    found = RACE(settings, seeds=range(4))
    slow, quick, middle = found["updates"]
    assert np.isinf(slow).all() and np.isfinite(quick).all()
    assert np.isinf(middle).any()
    assert (found["examples"][1] == 32 * quick).all()
    assert (found["epochs"][1] == 32 * quick / len(TRAIN.x)).all()


def test_a_run_that_diverges_or_gives_up_has_not_arrived():
    found = RACE([{"schedule": Constant(50.0)}, {"schedule": Constant(1e-6)}], seeds=[0, 1])
    assert np.isinf(found["updates"]).all()
    enough = RACE([{"schedule": Constant(0.02)}], seeds=[0])["updates"].item()
    soon = [{"schedule": Constant(0.02), "most": int(enough)}]
    assert np.isinf(RACE(soon, seeds=[0])["updates"]).all()


def test_a_run_that_is_there_at_once_needs_no_update():
    race = Race(MODEL, losses.squared_error, TRAIN, target=1e9, most=5, batch_size=32)
    assert race([{"schedule": Constant(0.1)}], seeds=[0])["updates"].tolist() == [[0]]


@pytest.mark.parametrize(
    "losses_at, updates",
    [
        ([0.6], 0),  # at the target is there
        ([1.0, 0.6], 1),
        ([1.0, 0.5], 0.8),
        ([1.0, 0.9, 0.5], 1.75),
    ],
)
def test_it_looks_first_after_one_update_and_at_the_target_it_is_there(
    losses_at, updates, monkeypatch
):
    monkeypatch.setattr(Trainer, "evaluate", lambda self, x, y: np.array([losses_at[self.step]]))
    found = RACE([{"schedule": Constant(0.01)}], seeds=[0])["updates"].item()
    assert found == pytest.approx(updates, rel=1e-12)


def test_a_loss_that_comes_back_from_infinity_arrives_where_it_is_seen(monkeypatch):
    losses_at = {0: np.inf, 1: np.inf, 2: 0.5}
    monkeypatch.setattr(Trainer, "evaluate", lambda self, x, y: np.array([losses_at[self.step]]))
    assert RACE([{"schedule": Constant(0.01)}], seeds=[0])["updates"].tolist() == [[2]]


def test_a_contest_chooses_the_quickest_rate():
    arms = {
        f"{size}": Arm(
            lambda peak, size=size: {"schedule": Constant(peak), "batch_size": size},
            peak=[0.2, 0.05, 0.001],
        )
        for size in (8, 32)
    }
    found = contest(RACE, arms, by="updates", tuning_seeds=[8, 9], seeds=[0, 1, 2], progress=False)
    assert found["updates"]["32"].mean() < found["updates"]["8"].mean()
    assert (found["examples"]["8"] == 8 * found["updates"]["8"]).all()


@pytest.mark.parametrize(
    "settings, words",
    [
        ([{"schedule": Constant(1), "most": 0}], "most must be at least 1"),
        ([{"schedule": Constant(1), "updates": 3}], "an option of a race must be one of"),
        ([{"batch_size": 8}], r"must have a schedule, received \{'batch_size': 8\}"),
        (
            [{"schedule": Constant(1), "batch_size": size} for size in (8, 16)],
            "must have the same batch_size, received 8 and 16",
        ),
        (
            [{"schedule": Constant(1), "optimizer": each} for each in (SGD(), Adam())],
            "must have the same optimizer, received SGD",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        RACE(settings, seeds=[0])


def test_a_race_without_a_batch_size_is_refused():
    race = Race(MODEL, losses.squared_error, TRAIN, target=0.6, most=300)
    with pytest.raises(ValueError, match="needs a batch_size"):
        race([{"schedule": Constant(1)}], seeds=[0])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"target": np.nan}, "target must be finite"),
        ({"most": 0}, "most must be at least 1"),
        ({"watched": 0}, "watched must be at least 1"),
    ],
)
def test_numbers_that_are_none_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Race(
            **(
                {
                    "model": MODEL,
                    "loss": losses.squared_error,
                    "examples": TRAIN,
                    "target": 1,
                    "most": 2,
                }
                | options
            )
        )
