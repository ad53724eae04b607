"""The fair comparison: what is chosen, on which seeds, what is judged, and what is said of it."""

import functools
import inspect
import re

import numpy as np
import pytest

from trainlab import data, losses, models
from trainlab.evidence import Arm, Task, contest, held_out, paired, paired_all
from trainlab.optimizers import SGD
from trainlab.schedules import Constant, LinearDecay
from trainlab.trainer import Trainer

SPLIT = data.diabetes()
TASK = Task(
    models.Linear(10, 1, dtype=np.float64), losses.squared_error, SPLIT, updates=12, batch_size=8
)


def single(schedule, seed, *, task=TASK, split=SPLIT):
    """One run alone, by the Trainer."""
    trainer = Trainer(
        task.model, task.loss, task.optimizer, schedule, batch_size=task.batch_size, seed=seed
    )
    return trainer.fit(*split.train, steps=task.updates, progress=False)


def made(settings, seeds):
    """A task without a training: the lower `a` the better with tuning seeds, the higher the better with fresh ones."""
    a = np.array([setting["a"] for setting in settings], float)[:, None]
    seeds = np.array(seeds)
    return {"choose": a + 0 * seeds, "judge": np.where(seeds >= 100, np.nan, 10 * a + seeds)}


# --- Arms


def test_an_arm_tries_every_combination_in_order():
    arm = Arm(a=[1, 2], b=(3.0, 4.0))
    assert arm.trials == [
        {"a": 1, "b": 3.0},
        {"a": 1, "b": 4.0},
        {"a": 2, "b": 3.0},
        {"a": 2, "b": 4.0},
    ]
    assert arm.setting({"a": 1, "b": 3.0}) == {"a": 1, "b": 3.0}


def test_an_arm_without_choices_has_one_trial():
    arm = Arm(lambda: Constant(0.1))
    assert (
        arm.trials == [{}]
        and arm.setting({}) == {"schedule": Constant(0.1)}
        and arm.edges({}) == {}
    )


def test_an_arm_with_more_options_has_the_same_trials():
    arm = Arm(
        lambda peak, size: {"schedule": Constant(peak), "batch_size": size},
        peak=[0.1, 0.2],
        size=[8],
    )
    more = arm.but(batch_size=4, model="another").but(loss=abs)
    assert more.trials == arm.trials and more.choices == arm.choices
    values = {"peak": 0.2, "size": 8}
    own = {"schedule": Constant(0.2), "batch_size": 8}
    assert more.setting(values) == own | {"batch_size": 4, "model": "another", "loss": abs}
    assert arm.setting(values) == own and arm.but().setting(values) == own
    assert more.edges(values) == arm.edges(values) == {"peak": "highest"}


def test_a_recipe_makes_a_schedule_or_options():
    assert Arm(Constant, peak=[0.1]).setting({"peak": 0.1}) == {"schedule": Constant(0.1)}
    assert Arm(lambda r: {"max_norm": r}, r=[2.0]).setting({"r": 2.0}) == {"max_norm": 2.0}


@pytest.mark.parametrize(
    "choices, values, edges",
    [
        ({"a": [3, 1, 2]}, {"a": 1}, {"a": "lowest"}),
        ({"a": [3, 1, 2]}, {"a": 3}, {"a": "highest"}),
        ({"a": [3, 1, 2]}, {"a": 2}, {}),
        ({"a": np.array([0.1, 0.2])}, {"a": 0.2}, {"a": "highest"}),
        ({"a": [5], "b": [1, 2, 3]}, {"a": 5, "b": 2}, {}),  # of one value there is no choice
        (
            {"a": ["x", "y"], "b": [1, 2]},
            {"a": "x", "b": 1},
            {"b": "lowest"},
        ),  # names have no order
    ],
)
def test_edges_are_those_of_the_values_not_of_their_places(choices, values, edges):
    assert Arm(**choices).edges(values) == edges


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: Arm("cosine"), TypeError, "a recipe must be callable, received 'cosine'"),
        (
            lambda: Arm(peak=0.1),
            TypeError,
            "peak must be a list of values to choose from, received 0.1",
        ),
        (
            lambda: Arm(name="abc"),
            TypeError,
            "name must be a list of values to choose from, received 'abc'",
        ),
        (
            lambda: Arm(peak=[]),
            ValueError,
            "peak must be a list of different values, at least one, received []",
        ),
        (lambda: Arm(peak=[0.1, 0.2, 0.1]), ValueError, "received [0.1, 0.2, 0.1]"),
        (lambda: Arm(size=[1, 2, 1.0]), ValueError, "received [1, 2, 1.0]"),
        (lambda: Arm(peak=[float("nan")] * 2), ValueError, "received [nan, nan]"),
    ],
)
def test_arms_refuse(make, error, words):
    with pytest.raises(error, match=re.escape(words)):
        make()


# --- Tasks


def test_a_task_trains_each_setting_with_each_seed_as_the_trainer_does():
    schedules, seeds = [Constant(0.1), LinearDecay(0.2, 12)], [3, 5, 8]
    found = TASK([{"schedule": schedule} for schedule in schedules], seeds)
    assert list(found) == ["train", "validation", "test"]
    for a, schedule in enumerate(schedules):
        for s, seed in enumerate(seeds):
            alone = single(schedule, seed)
            for name, part in SPLIT._asdict().items():
                assert found[name][a, s] == alone.evaluate(*part)


def test_settings_may_change_everything_and_keep_their_order():
    settings = [
        {"schedule": Constant(0.1)},
        {"schedule": Constant(0.1), "batch_size": 16},
        {"schedule": Constant(0.05)},
        {"schedule": Constant(0.1), "optimizer": SGD(momentum=0.5)},
        {"schedule": Constant(0.02), "batch_size": 16},
    ]
    found = TASK(settings, [0, 1])["train"]
    for row, setting in zip(found, settings):
        task = TASK.but(**{name: value for name, value in setting.items() if name != "schedule"})
        assert row.tolist() == [
            single(setting["schedule"], seed, task=task).evaluate(*SPLIT.train) for seed in (0, 1)
        ]


def test_what_is_trained_together_is_decided_by_parts():
    calls = []

    def measure(trainer, split):
        calls.append(len(trainer.seeds))
        return {"loss": trainer.evaluate(*split.train)}

    def setting(rate, delta, masks=None):
        return {
            "schedule": Constant(rate),
            "loss": functools.partial(losses.huber, delta=delta),
            "callback": masks,
        }

    task = TASK.but(measure=measure)
    task([setting(0.1, 1.0), setting(0.1, 2.0), setting(0.05, 1.0), setting(0.02, 1.0)], [0, 1])
    assert calls == [6, 2]
    array = np.zeros(2)
    calls.clear()
    options = [
        {"schedule": Constant(0.1), "loss": functools.partial(marked, mark=mark)}
        for mark in (array, array, np.zeros(2))
    ]
    task(options, [0])
    assert calls == [2, 1]  # arrays are the same if they are one


def marked(predictions, targets, reduction, mark):
    return losses.squared_error(predictions, targets, reduction=reduction)


def test_a_split_that_is_a_function_gives_each_seed_its_own_examples():
    found = TASK.but(split=data.diabetes)(
        [{"schedule": Constant(0.1)}, {"schedule": Constant(0.05)}], [4, 7]
    )
    for a, rate in enumerate((0.1, 0.05)):
        for s, seed in enumerate((4, 7)):
            split = data.diabetes(seed)
            assert found["test"][a, s] == single(Constant(rate), seed, split=split).evaluate(
                *split.test
            )


def by_parity(seed):
    """The examples of a seed: two fewer to train on where it is odd, and as many to validate with."""
    split = data.diabetes(seed)
    return split._replace(train=type(split.train)(*(part[seed % 2 * 2 :] for part in split.train)))


@pytest.mark.parametrize("seeds", [[4], [4, 7, 6, 5, 8]])
@pytest.mark.parametrize("alone", [False, True])
def test_seeds_with_examples_of_other_shapes_are_trained_by_themselves_and_in_order(seeds, alone):
    runs = []

    def note(trainer):
        runs.append(trainer.replicas)

    def measure(trainer, split):
        return {"test": trainer.evaluate(*split.test), "W": trainer.params["W"][..., 0]}

    rates = (0.1, 0.05)
    task = TASK.but(split=by_parity, measure=measure, callback=note if alone else None)
    found = task([{"schedule": Constant(rate)} for rate in rates], seeds)
    assert found["W"].shape == (2, len(seeds), 10)
    for a, rate in enumerate(rates):
        for s, seed in enumerate(seeds):
            trainer = single(Constant(rate), seed, split=by_parity(seed))
            assert found["test"][a, s] == trainer.evaluate(*by_parity(seed).test)
            assert found["W"][a, s].tolist() == trainer.params["W"][:, 0].tolist()
    assert set(runs) == ({2} if alone else set())


def test_what_is_held_out_is_measured_as_the_trainer_does():
    trainer = single(Constant(0.1), [3, 4])
    found = held_out(trainer, SPLIT)
    assert list(found) == ["validation", "test"]
    assert found["validation"].tolist() == trainer.evaluate(*SPLIT.validation).tolist()
    assert found["test"].tolist() == trainer.evaluate(*SPLIT.test).tolist()


def test_a_task_measures_what_it_is_told_and_on_the_way():
    def length(trainer, split):
        assert split is SPLIT
        return {
            "length": np.abs(trainer.params["W"][..., 0]),
            "step": np.full(len(trainer.seeds), trainer.step),
        }

    found = TASK.but(measure=length, every=5)([{"schedule": Constant(0.1)}], [0, 1, 2])
    assert found["length"].shape == (1, 3, 10) and found["curve/length"].shape == (1, 3, 10, 2)
    assert found["step"].tolist() == [[12] * 3] and found["curve/step"].tolist() == [[[5, 10]] * 3]


def test_a_task_hands_its_other_options_on():
    seen = []
    task = TASK.but(
        max_norm=0.5,
        accumulate=2,
        callback=lambda trainer: seen.append((trainer.max_norm, trainer.accumulate)),
        updates=3,
    )
    task([{"schedule": Constant(0.1)}], [0])
    assert seen == [(0.5, 2)] * 3 and task.budget == "3 updates of 16 examples"


def test_a_task_takes_the_shared_schedule_where_a_setting_has_none():
    found = TASK.but(schedule=Constant(0.1))([{"batch_size": 8}], [0])
    assert found["train"][0, 0] == single(Constant(0.1), 0).evaluate(*SPLIT.train)


def test_a_diverged_run_is_a_result():
    found = TASK.but(updates=200)(
        [{"schedule": Constant(1e6)}, {"schedule": Constant(0.01)}], [0, 1]
    )
    assert np.isposinf(found["test"][0]).all() and np.isfinite(found["test"][1]).all()


def test_a_task_refuses_an_option_it_does_not_have():
    with pytest.raises(
        ValueError, match="an option of a task must be one of .* received 'batchsize'"
    ):
        TASK([{"schedule": Constant(0.1), "batchsize": 4}], [0])


# --- Contests


ARMS = {"one": Arm(a=[3, 1, 2]), "two": Arm(a=[5, 6, 4.5])}


def test_each_arm_is_chosen_by_itself_and_judged_on_fresh_seeds():
    found = contest(made, ARMS, by="choose", tuning_seeds=[100, 101], seeds=[0, 1, 2])
    assert found.chosen == {"one": {"a": 1}, "two": {"a": 4.5}}
    assert found.at_the_edge == {"one": {"a": "lowest"}, "two": {"a": "lowest"}}
    assert found["judge"]["one"].tolist() == [10, 11, 12] and found["judge"]["two"].tolist() == [
        45,
        46,
        47,
    ]
    assert found.tuning["choose"]["one"].tolist() == [[3, 3], [1, 1], [2, 2]]
    assert (found.by, found.tuning_seeds, found.seeds) == ("choose", [100, 101], [0, 1, 2])


def test_the_mean_over_the_tuning_seeds_decides_and_a_lost_run_is_as_bad_as_can_be():
    table = {1: [1.0, 9.0], 2: [4.0, 4.0], 3: [0.0, np.nan], 4: [0.0, np.inf]}

    def task(settings, seeds):
        return {
            "loss": np.array(
                [[table[setting["a"]][seed % 100 % 2] for seed in seeds] for setting in settings]
            )
        }

    found = contest(
        task, {"it": Arm(a=[1, 2, 3, 4])}, by="loss", tuning_seeds=[100, 101], seeds=[0, 1]
    )
    assert found.chosen == {"it": {"a": 2}} and found.at_the_edge == {}


def test_of_a_tie_the_first_is_chosen_whatever_the_rounding():
    shares = {1: 0.5, 2: 0.1 + 0.2, 3: 0.3, 4: 0.3}  # 0.1 + 0.2 is a little above 0.3

    def task(settings, seeds):
        return {"loss": np.array([[shares[setting["a"]] for _ in seeds] for setting in settings])}

    found = contest(task, {"it": Arm(a=[1, 2, 3, 4])}, by="loss", tuning_seeds=[100], seeds=[0, 1])
    assert shares[2] > shares[3] and found.chosen == {"it": {"a": 2}}


def test_where_every_trial_is_lost_the_first_is_judged():
    def task(settings, seeds):
        return {"loss": np.full((len(settings), len(seeds)), np.inf)}

    found = contest(task, {"it": Arm(a=[1, 2])}, by="loss", tuning_seeds=[100], seeds=[0, 1])
    assert found.chosen == {"it": {"a": 1}} and found.lost("loss", "it") == 2


def test_a_contest_of_trainings_is_its_two_halves_by_hand():
    arms = {
        "constant": Arm(Constant, peak=[0.1, 0.01]),
        "linear": Arm(lambda peak: LinearDecay(peak, 12), peak=[0.2, 0.02]),
    }
    found = contest(
        TASK, arms, by="validation", tuning_seeds=[100, 101], seeds=[0, 1, 2], progress=False
    )
    for name, schedules in {
        "constant": [Constant(0.1), Constant(0.01)],
        "linear": [LinearDecay(0.2, 12), LinearDecay(0.02, 12)],
    }.items():
        means = [
            np.mean([single(schedule, seed).evaluate(*SPLIT.validation) for seed in (100, 101)])
            for schedule in schedules
        ]
        best = schedules[int(np.argmin(means))]
        assert found.settings[name] == {"schedule": best}
        assert found["test"][name].tolist() == [
            single(best, seed).evaluate(*SPLIT.test) for seed in (0, 1, 2)
        ]


def test_curves_are_measured_where_they_are_judged_alone():
    looks = []

    def measure(trainer, split):
        looks.append((trainer.step, len(trainer.seeds)))
        return {"loss": trainer.evaluate(*split.train)}

    arms = {"it": Arm(Constant, peak=[0.1, 0.01, 0.001])}
    found = contest(
        TASK.but(measure=measure, every=4),
        arms,
        by="loss",
        tuning_seeds=[100, 101],
        seeds=[0, 1, 2, 3, 4],
    )
    assert looks == [(12, 6), (4, 5), (8, 5), (12, 5), (12, 5)]
    assert found.looks.tolist() == [4, 8, 12]
    assert found.curves["loss"]["it"].shape == (5, 3)
    assert found.curves["loss"]["it"][:, -1].tolist() == found["loss"]["it"].tolist()
    assert list(found.values) == ["loss"]


def test_without_choices_nothing_is_tuned():
    found = contest(made, {"x": Arm(lambda: {"a": 1}), "y": Arm(a=[2])}, seeds=[0, 1])
    assert found.tuning == {} and found.by is None and found.chosen == {"x": {}, "y": {"a": 2}}


def test_differences_and_ratios_are_those_of_the_pairs():
    found = contest(
        made,
        {name: Arm(a=[value]) for name, value in {"p": 1, "q": 2, "r": 4}.items()},
        seeds=[1, 2, 4],
    )
    p, q, r = (found["judge"][name] for name in "pqr")
    assert found.difference("judge", "p", "q") == paired(p, q)
    assert found.ratio("judge", "q", "p", 0.9) == paired(np.log(q), np.log(p), 0.9).exp()
    assert found.differences("judge", "p") == paired_all(found["judge"], "p")
    logs = paired_all({name: np.log(values) for name, values in found["judge"].items()}, "r", 0.8)
    assert found.ratios("judge", "r", 0.8) == {name: log.exp() for name, log in logs.items()}


def test_a_lost_run_leaves_an_interval_that_says_nothing():
    def task(settings, seeds):
        return {
            "loss": np.array(
                [
                    [np.inf if setting["a"] and seed == 1 else 2.0 + setting["a"] for seed in seeds]
                    for setting in settings
                ]
            )
        }

    found = contest(task, {"whole": Arm(a=[0]), "broken": Arm(a=[1])}, seeds=[0, 1, 2])
    difference = found.difference("loss", "broken", "whole")
    assert (difference.mean, difference.low, difference.high, difference.n) == (
        np.inf,
        -np.inf,
        np.inf,
        3,
    )
    assert difference.verdict() == "undecided"
    ratio = found.ratio("loss", "whole", "broken")
    assert (ratio.mean, ratio.low, ratio.high) == (0, 0, np.inf)
    assert (found.lost("loss", "broken"), found.lost("loss", "whole")) == (1, 0)
    assert "broken  3 (1 lost)" in str(found)


def test_it_says_what_was_tried_chosen_and_lost():
    found = contest(
        made, ARMS, by="choose", tuning_seeds=[100, 101], seeds=[0, 1, 2], budget="no training"
    )
    assert str(found).splitlines() == [
        "no training; 3 fresh seeds; choose chose out of 3, with 2 other seeds",
        "intervals hold the luck of training",
        "arm  choose  judge  chosen",
        "one  1       11     a 1 (lowest)",
        "two  4.5     46     a 4.5 (lowest)",
    ]


def test_large_numbers_are_written_out():
    found = contest(
        made, {"one": Arm(a=[123.456]), "two": Arm(a=[2e9])}, seeds=[0, 1], budget="none"
    )
    assert str(found).splitlines()[3:] == ["one  123     1,235", "two  2e+09   2e+10"]


def test_it_says_every_budget_once():
    arms = {
        "small": Arm(lambda: Constant(0.1)),
        "large": Arm(lambda: {"schedule": Constant(0.1), "batch_size": 16, "updates": 6}),
    }
    found = contest(TASK, arms | {"also small": Arm(lambda: Constant(0.2))}, seeds=[0, 1])
    assert found.budget == "12 updates of 8 examples; 6 updates of 16 examples"
    assert str(found).splitlines()[2] == "arm         train  validation  test"


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"arms": {}}, ValueError, "the same number of trials, at least one, received {}"),
        ({"arms": {"x": Arm(a=[1, 2]), "y": Arm(a=[1])}}, ValueError, "received {'x': 2, 'y': 1}"),
        ({"arms": {"x": [1, 2]}}, TypeError, "arms must be a dict of Arm, received [1, 2] for 'x'"),
        (
            {"seeds": [0, 100, 7]},
            ValueError,
            "a seed must not tune and judge, received [100] for both",
        ),
        ({"by": None}, ValueError, "to choose, a contest needs by and tuning_seeds, received None"),
        ({"tuning_seeds": ()}, ValueError, "to choose, a contest needs by and tuning_seeds"),
        ({"by": "test"}, ValueError, "by must be one of"),
        ({"seeds": []}, ValueError, "seeds must be different numbers"),
        ({"seeds": [1, 1]}, ValueError, "seeds must be different numbers"),
    ],
)
def test_contests_refuse(changes, error, words):
    options = {"arms": ARMS, "by": "choose", "tuning_seeds": [100, 101], "seeds": [0, 1]} | changes
    with pytest.raises(error, match=re.escape(words)):
        contest(made, options.pop("arms"), **options)


def test_a_measure_of_several_numbers_a_run_cannot_choose():
    def task(settings, seeds):
        return {"both": np.zeros((len(settings), len(seeds), 2))}

    with pytest.raises(
        ValueError,
        match=r"by must be a measure with one number a run, received 'both' with shape \(2,\)",
    ):
        contest(task, ARMS, by="both", tuning_seeds=[100], seeds=[0, 1])


def test_unknown_names_are_refused():
    found = contest(made, {"x": Arm(a=[1]), "y": Arm(a=[2])}, seeds=[0, 1])
    for ask in (
        lambda: found["loss"],
        lambda: found.difference("judge", "x", "z"),
        lambda: found.ratios("judge", "z"),
        lambda: found.lost("judge", "z"),
    ):
        with pytest.raises(ValueError, match="must be one of"):
            ask()


def test_what_is_finished_is_kept(tmp_path):
    calls = []

    def task(settings, seeds, broken=None):
        calls.append([setting["a"] for setting in settings])
        if broken in calls[-1]:
            raise RuntimeError("power cut")
        return made(settings, seeds)

    options = {"by": "choose", "tuning_seeds": [100], "seeds": [0, 1], "folder": tmp_path}
    with pytest.raises(
        RuntimeError, match="arm 'two' with seeds \\[100\\] failed: RuntimeError: power cut"
    ) as caught:
        contest(functools.partial(task, broken=5), ARMS, **(options | {"folder": None}))
    assert list(caught.value.finished) == ["one"]
    found = contest(made, ARMS, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judging", "tuning"]
    again = contest(made, ARMS, **options)
    assert again["judge"]["two"].tolist() == found["judge"]["two"].tolist()
    with pytest.raises(ValueError, match="seeds"):
        contest(made, ARMS, **(options | {"tuning_seeds": [101]}))


def test_processes_find_the_same():
    arms = {
        "constant": Arm(Constant, peak=[0.1, 0.01]),
        "linear": Arm(lambda peak: LinearDecay(peak, 12), peak=[0.2, 0.02]),
    }
    options = {
        "by": "validation",
        "tuning_seeds": [100, 101],
        "seeds": [0, 1, 2],
        "progress": False,
    }
    alone, several = contest(TASK, arms, **options), contest(TASK, arms, n_jobs=2, **options)
    assert str(alone) == str(several)
    assert all(alone["test"][arm].tolist() == several["test"][arm].tolist() for arm in arms)


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda found: found["loss"], "a measure must be one of"),
        (lambda found: found.difference("judge", "x", "z"), "an arm must be one of"),
        (lambda found: found.lost("judge", "z"), "an arm must be one of"),
        (lambda found: found.differences("judge", "z"), "baseline must be one of"),
        (lambda found: found.ratios("judge", "x", 0), "confidence must be above 0, received 0"),
        (lambda found: found.ratios("judge", "x", 1), "confidence must be below 1, received 1"),
        (lambda found: found.differences("judge", "x", 1.5), "confidence must be below 1"),
    ],
)
def test_it_says_what_it_does_not_know(ask, words):
    found = contest(made, {"x": Arm(a=[1]), "y": Arm(a=[2])}, seeds=[0, 1])
    with pytest.raises(ValueError, match=words):
        ask(found)


def test_intervals_have_95_percent_unless_they_are_told_otherwise():
    found = contest(made, {"x": Arm(a=[1]), "y": Arm(a=[2])}, seeds=[1, 2, 4])
    two = ("judge", "x", "y")
    assert found.difference(*two) == found.difference(*two, 0.95)
    assert found.ratio(*two) == found.ratio(*two, 0.95)
    assert found.ratios("judge", "y")["x"].confidence == pytest.approx(0.95)
    assert found.differences("judge", "y")["x"].confidence == pytest.approx(0.95)


def test_a_partial_function_is_not_a_function_nor_a_dict_a_number():
    plain, partial = marked, functools.partial(marked, mark=1)
    task, calls = TASK.but(loss=None), []

    def measure(trainer, split):
        calls.append(trainer.loss)
        return {"loss": np.zeros(trainer.replicas)}

    def settings(*losses_):
        return [{"loss": loss, "schedule": Constant(0.1), "measure": measure} for loss in losses_]

    task(settings(losses.squared_error, partial), [0])
    task(settings(partial, losses.squared_error), [0])
    assert len(calls) == 4 and plain not in calls
    calls.clear()
    alike = [functools.partial(marked, mark={"a": 1}) for _ in range(2)]
    task(
        settings(*alike, functools.partial(marked, mark=1), functools.partial(marked, mark={})), [0]
    )
    assert len(calls) == 3


def test_numbers_from_a_thousand_to_a_million_are_written_out():
    values = [999.4, 1000.0, 999_999.0, 1e6, -2000.0]
    found = contest(
        lambda settings, seeds: {"loss": np.array([[s["a"]] for s in settings])},
        {str(place): Arm(a=[value]) for place, value in enumerate(values)},
        seeds=[0],
        budget="none",
    )
    written = [line.split()[1] for line in str(found).splitlines()[3:]]
    assert written == ["999", "1,000", "999,999", "1e+06", "-2,000"]


def test_two_trials_are_a_choice_and_a_single_run_has_a_mean():
    found = contest(
        made, {"it": Arm(a=[2, 1])}, by="choose", tuning_seeds=[100], seeds=[0], budget="none"
    )
    assert found.chosen == {"it": {"a": 1}} and found.by == "choose"
    assert str(found).splitlines()[2:] == [
        "arm  choose  judge  chosen",
        "it   1       10     a 1 (lowest)",
    ]
    assert found.looks.tolist() == []


def test_an_arm_with_every_run_lost_has_no_mean():
    found = contest(
        lambda settings, seeds: {"loss": np.full((1, 2), np.nan)}, {"it": Arm(a=[1])}, seeds=[0, 1]
    )
    assert str(found).splitlines() == [
        "the task's own budget; 2 seeds",
        "intervals hold the luck of training",
        "arm  loss",
        "it   (2 lost)",
    ]


def test_two_choices_are_written_with_commas():
    arm = {"it": Arm(lambda a, b: {"a": a + b}, a=[1, 2, 3], b=[0, 5])}
    found = contest(made, arm, by="choose", tuning_seeds=[100], seeds=[0])
    assert str(found).splitlines()[-1] == "it   1       10     a 1 (lowest), b 0 (lowest)"


@pytest.mark.parametrize("updates, looks", [(11, [4, 8]), (12, [4, 8, 12]), (13, [4, 8, 12])])
def test_the_looks_are_those_that_were_taken(updates, looks):
    task = TASK.but(updates=updates, every=4)
    found = contest(task, {"it": Arm(Constant, peak=[0.1])}, seeds=[0, 1])
    assert found.looks.tolist() == looks
    assert found.curves["test"]["it"].shape == (2, len(looks))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("every", [None, 1])
def test_a_callback_may_be_one_or_a_list(several, every):
    steps = []

    def note(trainer):
        steps.append(trainer.step)

    def note_too(trainer):
        steps.append(-trainer.step)

    callback = [note, note_too] if several else note
    TASK.but(updates=2, callback=callback, every=every)([{"schedule": Constant(0.1)}], [0])
    assert steps == ([1, -1, 2, -2] if several else [1, 2])


def test_it_works_in_one_process_and_shows_its_bar_unless_it_is_told_otherwise():
    defaults = {name: p.default for name, p in inspect.signature(contest).parameters.items()}
    assert defaults["n_jobs"] == 1 and defaults["progress"] is True


def test_the_confidence_is_refused_as_it_was_given():
    found = contest(
        made, {name: Arm(a=[a]) for name, a in {"x": 1, "y": 2, "z": 3}.items()}, seeds=[1, 2]
    )
    for wrong in (0, 1, 1.5, -0.5):
        with pytest.raises(ValueError, match=f"confidence must be .*, received {wrong}$"):
            found.differences("judge", "x", wrong)


def test_curves_may_have_a_single_look():
    found = TASK.but(updates=5, every=4)([{"schedule": Constant(0.1)}], [0, 1])
    assert found["curve/test"].shape == (1, 2, 1)


def test_equal_options_are_trained_together_though_they_are_two_objects():
    calls = []

    def measure(trainer, split):
        calls.append(trainer.replicas)
        return {"loss": np.zeros(trainer.replicas)}

    marks = [{"a": float("1000.5")} for _ in range(2)]
    settings = [
        {"loss": functools.partial(marked, mark=mark), "schedule": Constant(0.1)} for mark in marks
    ]
    TASK.but(measure=measure)(settings, [0])
    assert calls == [2]


def of_means(*means):
    """A task whose trials have these means, the same with every seed."""

    def task(settings, seeds):
        return {"loss": np.array([[means[setting["a"]]] * len(seeds) for setting in settings])}

    return task


@pytest.mark.parametrize("means, chosen", [((1.0, 0.0), 1), ((1e-5, 1e-6), 1), ((-1.0, -2.0), 1)])
def test_a_small_mean_is_no_tie(means, chosen):
    arms = {"it": Arm(a=range(len(means)))}
    found = contest(of_means(*means), arms, by="loss", tuning_seeds=[100], seeds=[0])
    assert found.chosen["it"] == {"a": chosen}


def test_what_did_not_choose_is_not_named():
    found = contest(made, {"it": Arm(a=[1])}, by="choose", tuning_seeds=[100], seeds=[0])
    assert found.by is None


def test_zeros_and_lost_pairs_make_no_noise():
    found = contest(of_means(0.0, 1.0), {"x": Arm(a=[0]), "y": Arm(a=[1])}, seeds=[0, 1])
    assert found.ratio("loss", "x", "y", 0.9).confidence == 0.9
    both_lost = contest(of_means(np.inf, np.inf), {"x": Arm(a=[0]), "y": Arm(a=[1])}, seeds=[0, 1])
    difference = both_lost.difference("loss", "x", "y", 0.9)
    assert np.isnan(difference.mean) and difference.confidence == 0.9


def test_choices_that_are_no_numbers_are_named():
    arm = Arm(lambda a, how: {"a": a}, a=[1, 2], how=["slow", len])
    found = contest(made, {"it": arm}, by="choose", tuning_seeds=[100], seeds=[0])
    assert str(found).endswith("a 1 (lowest), how 'slow'")


def test_the_number_of_processes_is_handed_on():
    with pytest.raises(ValueError):
        contest(made, {"it": Arm(a=[1])}, seeds=[0], n_jobs=0)


# --- Repeats: the luck of the choice


def lucky(settings, seeds):
    """Which trial is the best depends on the tuning seed: odd ones favour the highest `a`."""
    a = np.array([setting["a"] for setting in settings], float)[:, None]
    seeds = np.array(seeds)
    return {"choose": np.where(seeds % 2, -a, a), "judge": 10 * a + seeds % 3}


REPEATED = {"by": "choose", "tuning_seeds": [100, 102, 101, 103, 104, 106], "repeats": 3}


def test_a_repeat_chooses_with_its_share_of_the_seeds_and_judges_with_its_own():
    arms = {"x": Arm(a=[1, 2, 3]), "fixed": Arm(lambda b: {"a": 0}, b=[5, 6, 7])}
    found = contest(lucky, arms, seeds=range(6), **REPEATED)
    assert found.chosen == {"x": {"a": [1, 3, 1]}, "fixed": {"b": [5, 5, 5]}}
    assert found.settings["x"] == [{"a": 1}, {"a": 3}, {"a": 1}]
    np.testing.assert_array_equal(found["judge"]["x"], [10, 11, 32, 30, 11, 12])
    assert found.at_the_edge["x"] == {"a": "lowest in 2, highest in 1 of 3"}
    assert (found.repeats, found.luck) == (3, ("training", "choice"))
    means = [10.5, 31, 11.5]
    assert found.difference("judge", "x", "fixed") == paired(means, [0.5, 1, 1.5])
    assert found.difference("judge", "x", "fixed", 0.8) == paired(means, [0.5, 1, 1.5], 0.8)


def test_two_repeats_are_repeats():
    rules = {"by": "choose", "tuning_seeds": [100, 101], "repeats": 2}
    found = contest(lucky, {"x": Arm(a=[1, 2, 3])}, seeds=range(4), **rules)
    assert found.settings == {"x": [{"a": 1}, {"a": 3}]}
    assert (found.repeats, found.luck) == (2, ("training", "choice"))
    assert "with 1 other seeds, 2 times\n" in str(found)
    arms = {"x": Arm(a=[1, 2]), "fixed": Arm(lambda b: {"a": 0}, b=[5, 6])}
    found = contest(lucky, arms, seeds=range(4), **rules)
    # With 1 for seeds 0 and 1, then with 2 for seeds 2 and 3.
    assert found["judge"]["x"].tolist() == [10, 11, 22, 20]
    assert found.difference("judge", "x", "fixed") == paired([10.5, 21], [0.5, 1])


def test_a_ratio_of_repeats_is_that_of_their_geometric_means():
    arms = {"x": Arm(a=[1, 2]), "y": Arm(a=[3, 4])}
    found = contest(lucky, arms, seeds=range(6), **REPEATED)
    logs = [np.log(found["judge"][arm]).reshape(3, 2).mean(axis=1) for arm in "xy"]
    assert found.ratio("judge", "x", "y") == paired(*logs).exp()
    assert (
        found.ratios("judge", "y")["x"] == paired_all({"x": logs[0], "y": logs[1]}, "y")["x"].exp()
    )


def test_repeats_are_the_contests_of_their_seeds():
    arms = {"x": Arm(Constant, peak=[0.01, 0.1, 0.4]), "y": Arm(Constant, peak=[0.02, 0.2, 0.3])}
    both = contest(
        TASK, arms, by="validation", tuning_seeds=range(10, 14), seeds=range(4), repeats=2
    )
    for number in (0, 1):
        part = slice(2 * number, 2 * number + 2)
        alone = contest(
            TASK, arms, by="validation", tuning_seeds=range(10, 14)[part], seeds=range(4)[part]
        )
        for arm in arms:
            assert both.chosen[arm]["peak"][number] == alone.chosen[arm]["peak"]
            np.testing.assert_array_equal(both["test"][arm][part], alone["test"][arm])


def test_it_says_how_often_a_value_was_chosen_and_what_the_intervals_hold():
    printed = str(contest(lucky, {"x": Arm(a=[1, 2, 3])}, seeds=range(6), **REPEATED))
    assert "6 fresh seeds; choose chose out of 3, with 2 other seeds, 3 times\n" in printed
    assert "\nintervals hold the luck of training, of choice\n" in printed
    assert "a 2 x 1, 1 x 3 (lowest in 2, highest in 1 of 3)" in printed


def test_curves_of_repeats_have_a_row_for_every_seed():
    arms = {"x": Arm(Constant, peak=[0.01, 0.1])}
    options = {"by": "test", "tuning_seeds": [7, 8], "seeds": [1, 2, 3, 4]}
    found = contest(TASK.but(every=4), arms, repeats=2, **options)
    assert found.curves["test"]["x"].shape == (4, 3)
    np.testing.assert_array_equal(found.curves["test"]["x"][:, -1], found["test"]["x"])


def test_what_repeats_found_is_kept(tmp_path):
    arms = {"x": Arm(a=[1, 2])}
    found = contest(lucky, arms, seeds=range(6), folder=tmp_path, **REPEATED)
    parts = ["judging 1 of 3", "judging 2 of 3", "judging 3 of 3", "tuning"]
    assert sorted(path.name for path in tmp_path.iterdir()) == parts
    again = contest(lucky, arms, seeds=range(6), folder=tmp_path, **REPEATED)
    np.testing.assert_array_equal(found["judge"]["x"], again["judge"]["x"])


def test_a_split_of_each_seed_is_in_the_intervals_too():
    own = TASK.but(split=lambda seed: data.diabetes(seed=seed))
    found = contest(own, {"x": Arm(lambda: Constant(0.1))}, seeds=[1, 2])
    assert found.luck == ("training", "split")


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"repeats": 0}, ValueError, "repeats .* 0"),
        ({"repeats": 1.5}, TypeError, "repeats .* 1.5"),
        ({"repeats": 4}, ValueError, "seeds must be shared out among 4 repeats, received 6"),
        (
            {"tuning_seeds": [7, 8, 9, 10]},
            ValueError,
            "tuning_seeds must be shared out among 3 repeats, received 4",
        ),
        *(
            (
                {"arms": {"x": Arm(a=[1])}, "repeats": repeats},
                ValueError,
                f"nothing is chosen .* received repeats {repeats}",
            )
            for repeats in (2, 3)
        ),
    ],
)
def test_repeats_refuse(changes, error, words):
    options = {"task": lucky, "arms": {"x": Arm(a=[1, 2])}, "seeds": range(6)} | REPEATED
    with pytest.raises(error, match=words):
        contest(**options | changes)
