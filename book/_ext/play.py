"""Figures that answer: a picture with one or two knobs, all of whose states trainlab computes when the book is built, or reads from kept runs.

A page holds the states as JSON; play.js looks them up. Without a script the picture of the first state is there.
The chapters do not know of them: each is put at the end of the section that PLACES names, and `{play} name` shows it elsewhere.
"""

import html
import itertools
import json
import re
from dataclasses import dataclass, field

import numpy as np
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import play_runs
from trainlab import evidence, losses, numerics, schedules
from trainlab.optimizers import SGD

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 398, 12, 222
PLACES = {  # the section of a chapter at whose end a figure stands
    "contest": ("chapters/01_background/ten_strategies", "Three contests"),
    "walk": ("chapters/02_concepts/learning_rate", "The idea, on a parabola"),
    "valley": (
        "chapters/03_algorithms/rate_batch_momentum",
        "The idea: a ball instead of a walker",
    ),
    "shapes": ("chapters/03_algorithms/schedules", "The idea: a rate is a function of the step"),
    "logit": (
        "chapters/03_algorithms/classification_losses",
        "The idea: ask each relative about a coin",
    ),
    "softmax": ("chapters/02_concepts/cross_entropy", "From any numbers to probabilities"),
    "batch": ("chapters/03_algorithms/noise_scale", "The idea: an arrow that trembles"),
    "sureness": (
        "chapters/03_algorithms/calibration",
        "The idea: compare what is said with what happens",
    ),
    "branches": ("chapters/07_language_model/language_schedules", "Branches of one run"),
}


@dataclass
class Axis:
    label: str
    low: float
    high: float
    ticks: tuple
    log: bool = False

    def share(self, values):
        values, low, high = (np.asarray(v, float) for v in (values, self.low, self.high))
        if self.log:
            values, low, high = np.log(values), np.log(low), np.log(high)
        return np.clip((values - low) / (high - low), -0.02, 1.02)


@dataclass
class Figure:
    """A picture: `state` takes a position of each knob and returns its lines, one (x, y) for each style, and its words."""

    title: str
    question: str
    x: Axis
    y: Axis
    knobs: dict  # from the name of a knob to its positions, as texts
    start: tuple  # the positions that are shown first
    styles: tuple  # a class of CSS for each line
    state: object
    names: tuple = ()  # of the lines, where a legend is needed
    still: list = field(default_factory=list)  # lines that never change


def path(figure, xs, ys):
    """A line as the path of an SVG."""
    across = LEFT + figure.x.share(xs) * (RIGHT - LEFT)
    down = BOTTOM - figure.y.share(ys) * (BOTTOM - TOP)
    return "M" + "L".join(f"{a:.1f} {d:.1f}" for a, d in zip(across, down))


def drawn_lines(figure, lines):
    """The paths of the lines; one whose style has dots is two, the second of points alone."""
    paths = []
    for style, (xs, ys) in zip(figure.styles, lines):
        paths.append(path(figure, xs, ys))
        if "dots" in style:
            paths.append(re.sub(r"[ML]([^ML]+)", r"M\1h0", paths[-1]))
    return paths


def number(value):
    if 1000 <= abs(value) < 1e5:
        return f"{value if value == int(value) else float(f'{value:.3g}'):,.0f}"
    return (
        f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
        .replace("e+0", "e")
        .replace("e\N{MINUS SIGN}0", "e\N{MINUS SIGN}")
    )


def bars(heights, shift=0.0, width=0.36):
    """Bars as one line, from left to right along the ground."""
    xs, ys = [], []
    for place, height in enumerate(heights):
        left = place + shift
        xs += [left, left, left + width, left + width]
        ys += [0, height, height, 0]
    return xs, ys


def descent(gradient, start, rate, momentum, updates):
    """The places of a walk with trainlab's SGD."""
    optimizer, params = SGD(momentum=momentum), {"w": np.array(start, float)}
    state, places = optimizer.init(params), [params["w"].copy()]
    for _ in range(updates):
        optimizer.update(params, {"w": gradient(params["w"])}, state, rate=rate)
        if not np.all(np.abs(params["w"]) < 1e6):
            break
        places.append(params["w"].copy())
    return np.array(places)


def walk():
    curvature, multiples = 2.0, np.round(np.arange(0.05, 1.16, 0.05), 2)
    w = np.linspace(-2, 2, 60)

    def state(position):
        rate = multiples[position] * 2 / curvature
        places = descent(lambda at: curvature * at, [1.0], rate, 0.0, 12)[:, 0]
        shown = places[np.abs(places) < 2.4]
        if multiples[position] > 1:
            how = "Each step lands higher on the other side"
        elif multiples[position] == 1:
            how = "It jumps from side to side and gets nowhere"
        elif multiples[position] > 0.5:
            how = "It jumps from side to side and comes nearer"
        elif multiples[position] == 0.5:
            how = "One step reaches the bottom"
        else:
            how = "It walks down one side"
        words = f"Rate {number(rate)}, that is {number(multiples[position])} times 2/λ. {how}: after 12 updates the distance from the bottom is {number(abs(places[-1]))}."
        return [(shown, curvature / 2 * shown**2)], words

    return Figure(
        "Walk down a parabola",
        "For which rate is the distance smallest after one update, and what happens to both sides of it?",
        Axis("w", -2, 2, (-2, -1, 0, 1, 2)),
        Axis("loss", 0, 4, (0, 1, 2, 3, 4)),
        {"rate": [f"{number(m)} times 2/λ" for m in multiples]},
        (2,),
        ("main dots",),
        state,
        still=[(w, curvature / 2 * w**2)],
    )


def valley():
    curvatures = np.array([10.0, 0.5])
    multiples, momenta = np.round(np.arange(0.1, 2.01, 0.1), 1), (0.0, 0.5, 0.9)
    turn = np.linspace(0, 2 * np.pi, 50)
    rings = [
        (
            np.sqrt(2 * level / curvatures[1]) * np.cos(turn),
            np.sqrt(2 * level / curvatures[0]) * np.sin(turn),
        )
        for level in (0.1, 0.5, 1.2, 2.2)
    ]

    def state(rate, heavy):
        eta = multiples[rate] * 2 / curvatures[0]
        places = descent(lambda at: curvatures * at, [0.6, 2.6], eta, momenta[heavy], 40)
        shown = places[: np.argmax([*(np.abs(places[:, 0]) > 0.8), True])]
        loss = (curvatures * places[-1] ** 2).sum() / 2
        # Without momentum the border is at 2/λ; momentum moves it out by 1 + μ.
        stable = multiples[rate] < 1 + momenta[heavy]
        how = (
            f"the loss after 40 updates is {number(loss)}"
            if stable
            else "the walk leaves the valley"
        )
        words = f"Rate {number(multiples[rate])} times 2/λ of the steep direction, momentum {number(momenta[heavy])}: {how}."
        return [(shown[:, 1], shown[:, 0])], words

    return Figure(
        "A valley that is twenty times steeper across than along",
        "Without momentum, the steep walls limit the rate and the flat floor needs a large one. Which momentum and rate end lowest?",
        Axis("along the valley", -3, 3, (-3, -2, -1, 0, 1, 2, 3)),
        Axis("across", -0.8, 0.8, (-0.8, -0.4, 0, 0.4, 0.8)),
        {
            "rate": [f"{number(m)} times 2/λ" for m in multiples],
            "momentum": list(map(number, momenta)),
        },
        (7, 0),
        ("main dots",),
        state,
        still=rings,
    )


def shapes():
    steps, warm = 100, (0, 5, 10, 20)
    makers = {
        "constant": lambda n: schedules.Constant(1.0),
        "linear": lambda n: schedules.Linear(1.0, n),
        "cosine": lambda n: schedules.Cosine(1.0, n),
        "exponential": lambda n: schedules.Exponential(1.0, factor=0.02 ** (1 / n)),
        "steps": lambda n: schedules.StepDecay(1.0, factor=0.1, every=max(n // 3, 1)),
        "stable, then down": lambda n: schedules.WarmupStableDecay(
            1.0, 0, n - steps // 5, steps // 5
        ),
    }

    def state(kind, start):
        name, at = list(makers)[kind], np.arange(steps)
        schedule = makers[name](steps - warm[start])
        if warm[start]:
            schedule = schedules.Warmup(schedule, steps=warm[start])
        rates = np.broadcast_to(np.asarray(schedule(at), float), at.shape)
        words = (
            f"{name[0].upper()}{name[1:]}, {warm[start]} % warm-up: the area, which is how far a run can go, is {number(rates.mean() * 100)} % of a constant rate's; "
            f"the mean rate of the last tenth, which sets the noise at the end, is {number(rates[-steps // 10 :].mean())} of the peak."
        )
        return [(at, rates)], words

    return Figure(
        "A schedule is an area and a tail",
        "Which shape keeps the most area and still ends with a rate near zero?",
        Axis("updates, % of the budget", 0, 100, (0, 20, 40, 60, 80, 100)),
        Axis("rate / peak", 0, 1.05, (0, 0.25, 0.5, 0.75, 1)),
        {"shape": list(makers), "warm-up": [f"{w} % of the budget" for w in warm]},
        (2, 1),
        ("main",),
        state,
    )


def logit():
    grid, kinds = (
        np.linspace(-5, 5, 41),
        ("cross-entropy", "focal", "hinge", "squared error of the probability"),
    )

    def computed(kind, s):
        s = np.asarray(s, float)
        if kind == "cross-entropy":
            return losses.binary_cross_entropy(s, np.ones_like(s), reduction="none")
        if kind == "focal":
            return losses.focal(s, np.ones_like(s), reduction="none")
        if kind == "hinge":
            return losses.hinge(s, np.ones_like(s), reduction="none")
        p = numerics.sigmoid(s)
        found = losses.squared_error(p, np.ones_like(p), reduction="none")
        return losses.Loss(found.value, found.gradient * p * (1 - p))

    def state(kind, position):
        curve, here = computed(kinds[kind], grid), computed(kinds[kind], grid[[position]])
        at, value, slope = grid[position], here.value[0], here.gradient[0]
        words = f"{kinds[kind][0].upper()}{kinds[kind][1:]} at logit {number(at)}, where the right answer is yes: loss {number(value)}, gradient {number(slope)}."
        return [(grid, curve.value), (grid, curve.gradient), ([at, at], [slope, value])], words

    return Figure(
        "What a loss says to a logit",
        "A very wrong answer stands at logit −5. Which loss hardly pulls it back, and why is that a bad start?",
        Axis("logit of the right answer", -5, 5, (-4, -2, 0, 2, 4)),
        Axis("loss and gradient", -1.5, 5.5, (-1, 0, 1, 2, 3, 4, 5)),
        {"loss": list(kinds), "logit": list(map(number, grid))},
        (0, 8),
        ("main", "second", "marker dots"),
        state,
        ("loss", "gradient"),
    )


def softmax():
    logits = np.array([2.0, 1.0, 0.0, -0.5, -1.0])
    temperatures, smoothings = 2.0 ** np.arange(-3, 3.1, 0.5), (0.0, 0.1, 0.2, 0.4)

    def state(cold, smooth):
        scaled, smoothing = logits / temperatures[cold], smoothings[smooth]
        shares = np.exp(numerics.log_softmax(scaled[None])[0])
        target = (1 - smoothing) * np.eye(5)[0] + smoothing / 5
        loss = losses.softmax_cross_entropy(scaled[None], np.array([0]), label_smoothing=smoothing)
        words = (
            f"Temperature {number(temperatures[cold])}, smoothing {number(smoothing)}: the right class gets a probability of {number(shares[0])} and should get {number(target[0])}; "
            f"the loss is {number(float(loss.value))}, and the gradient at its logit, before the temperature, is {number(loss.gradient[0, 0])}."
        )
        return [bars(shares, 0.08), bars(target, 0.54)], words

    return Figure(
        "Temperature and label smoothing",
        "With smoothing, make the temperature so small that the answer is almost sure. Why does the loss rise again?",
        Axis("class, the first is right", 0, 5, ()),
        Axis("probability", 0, 1.05, (0, 0.25, 0.5, 0.75, 1)),
        {
            "temperature": list(map(number, temperatures)),
            "label smoothing": list(map(number, smoothings)),
        },
        (6, 0),
        ("main filled", "second filled"),
        state,
        ("softmax", "target"),
    )


def batch():
    sizes, scales = 2 ** np.arange(0, 13), (16, 128, 1024)
    grid = 2.0 ** np.arange(0, 12.1, 0.25)

    def state(place, noise):
        size, scale = int(sizes[place]), scales[noise]
        words = (
            f"Batches of {size} where the critical size is {scale}: {number(1 + scale / size)} times the updates that a perfect gradient needs, "
            f"and {number(1 + size / scale)} times the examples that batches of one need."
        )
        here = [1 + size / scale, 1 + scale / size]
        return [(grid, 1 + scale / grid), (grid, 1 + grid / scale), ([size, size], here)], words

    return Figure(
        "What a larger batch saves, and what it costs",
        "Where do updates and examples both cost twice their least, and what do you gain by going further?",
        Axis("batch size", 1, 4096, (1, 8, 64, 512, 4096), log=True),
        Axis("times the least possible", 1, 1000, (1, 10, 100, 1000), log=True),
        {"batch size": list(map(str, sizes)), "critical size": list(map(str, scales))},
        (5, 1),
        ("main", "second", "marker dots"),
        state,
        ("updates", "examples"),
    )


def sureness():
    """A made-up classifier whose true logits are known, so that its right temperature is 2."""
    true = np.linspace(-6, 6, 2001)
    weight = np.exp(-(true**2) / 8)
    weight /= weight.sum()
    right, temperatures = numerics.sigmoid(true), 2.0 ** np.arange(-1, 3.1, 0.25)
    edges = np.linspace(0.5, 1, 11)

    def state(position):
        said = numerics.sigmoid(2 * true / temperatures[position])
        sure = np.maximum(said, 1 - said)
        hit = np.where(said >= 0.5, right, 1 - right)
        xs, ys, gap = [], [], 0.0
        for low, high in itertools.pairwise(edges):
            inside = (sure >= low) & ((sure < high) | (high == 1))
            if (share := weight[inside].sum()) > 1e-4:
                xs.append((weight * sure)[inside].sum() / share)
                ys.append((weight * hit)[inside].sum() / share)
                gap += share * abs(xs[-1] - ys[-1])
        loss = losses.binary_cross_entropy(
            2 * true / temperatures[position], right, reduction="none"
        ).value
        side = (
            "too sure"
            if temperatures[position] < 1.9
            else "too unsure"
            if temperatures[position] > 2.1
            else "as sure as it is right"
        )
        words = f"Temperature {number(temperatures[position])}: {side}. The mean gap between what it says and what happens is {number(gap)}, its log loss {number((weight * loss).sum())}."
        return [(xs, ys)], words

    return Figure(
        "How sure, and how often right",
        "No temperature changes which answers are right. Which one makes the log loss smallest, and where does the curve lie then?",
        Axis("how sure it says it is", 0.5, 1, (0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        Axis("how often it is right", 0.5, 1.02, (0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        {"temperature": list(map(number, temperatures))},
        (4,),
        ("main dots",),
        state,
        still=[([0.5, 1], [0.5, 1])],
    )


def contest():
    """Plain gradient descent and a rival, each at a rate of its own: the validation errors as curves, two rates as points."""
    found, rates = play_runs.contest()[0], play_runs.RATES
    tried = {name: tuning.mean(axis=1) for name, (tuning, _) in found.items()}
    best = {name: int(np.argmin(errors)) for name, errors in tried.items()}
    common, rivals = int(np.argmin(np.abs(np.log(rates / 0.01)))), list(found)[1:]

    def state(which, plain, other):
        rival = rivals[which]
        chosen = {"plain": plain, rival: other}
        tests = {name: found[name][1][at] for name, at in chosen.items()}
        gap = evidence.paired(tests[rival], tests["plain"])
        tuned = [name for name, at in chosen.items() if at == best[name]]
        how = "Both are tuned" if len(tuned) == 2 else f"Only {tuned[0]} is tuned" if tuned else ""
        if plain == other == common:
            how = f"Both at the article's rate{f', which suits {tuned[0]}' if tuned else ''}"
        who = {"higher": "plain wins", "lower": f"{rival} wins"}.get(gap.verdict())
        if gap.verdict(1.0).startswith("no difference"):
            who = "no difference larger than a point"
        errors = f"{number(tests['plain'].mean())} % of the test answers are wrong with plain, {number(tests[rival].mean())} % with {rival}"
        who = who or "too close to tell"
        words = f"{how or 'Neither is tuned'}: {errors}. {who[0].upper()}{who[1:]}."
        lines = [(rates, tried["plain"]), (rates, tried[rival])]
        return [*lines, *(([rates[at]], [tried[name][at]]) for name, at in chosen.items())], words

    return Figure(
        "Tuned or not: a contest",
        "At the article's rate, 0.01, for both, AdamW wins. Which rates make plain win, and who wins when each has the rate where its curve is lowest?",
        Axis("rate", 0.001, 10, (0.001, 0.01, 0.1, 1, 10), log=True),
        Axis("wrong, %, validation images", 3, 100, (3, 10, 30, 100), log=True),
        {
            "rival": rivals,
            "rate of plain": list(map(number, rates)),
            "rate of rival": list(map(number, rates)),
        },
        (0, common, common),
        ("main", "second", "main dots", "second dots"),
        state,
        ("plain", "rival"),
    )


def branches():
    """Branches of the language model's runs: the trunk, a branch, and the cosine that was planned for the branch's end."""
    found, ends, shares = play_runs.branches()[0], play_runs.ENDS, play_runs.SHARES
    every, means = play_runs.EVERY, {key: runs.mean(axis=0) for key, runs in found.items()}

    def at(key):
        steps = every * np.arange(1, len(means[key]) + 1)
        return steps[steps >= play_runs.RAMP], means[key][steps >= play_runs.RAMP]

    def state(end, share):
        end, share = ends[end], shares[share]
        begin = end * share // 100
        branch, cosine = found[end, share], found[end, "cosine"]
        trunk = number(means["trunk"][end // every - 1])
        ratio = evidence.paired(np.log(branch[:, -1]), np.log(cosine[:, -1]))
        side = {"undecided": "too close to tell"}.get(ratio.verdict(), ratio.verdict())
        words = (
            f"In {len(branch)} runs on a made-up language, all with the largest rate {play_runs.PEAK}, the branch leaves at update {begin:,} and lands at {end:,} with a loss of {number(branch[:, -1].mean())}. The trunk is at {trunk} there, the cosine planned for {end:,} updates at {number(cosine[:, -1].mean())}. "
            f"Branch / cosine: {ratio.exp()}, {side}."
        )
        steps, losses_of = at((end, share))
        from_here = steps >= begin
        return [(steps[from_here], losses_of[from_here]), at((end, "cosine"))], words

    return Figure(
        "Branches of one run: when to land",
        "A cosine has to know its end before it starts, a branch does not. From where should it land, and does its freedom cost anything?",
        Axis("updates", 0, 1600, (0, 400, 800, 1200, 1600)),
        Axis("loss above the lowest, nats", 0.005, 0.2, (0.01, 0.02, 0.05, 0.1, 0.2), log=True),
        {
            "end": [f"update {end:,}" for end in ends],
            "leaves at": [f"{share} %" for share in shares],
        },
        (1, 1),
        ("main", "second"),
        state,
        ("branch", "cosine"),
        still=[at("trunk")],
    )


FIGURES = {
    make.__name__: make
    for make in (contest, walk, valley, shapes, logit, softmax, batch, sureness, branches)
}


def drawn(name, level="p"):
    """A figure as HTML, in its first state, with all its states."""
    figure = FIGURES[name]()
    sizes = [len(positions) for positions in figure.knobs.values()]
    known, states = {}, []
    for positions in itertools.product(*map(range, sizes)):
        lines, words = figure.state(*positions)
        paths = [known.setdefault(each, len(known)) for each in drawn_lines(figure, lines)]
        states.append([words, *paths])
    words, *first = states[int(np.ravel_multi_index(figure.start, sizes))]
    paths = list(known)
    styles = [
        each
        for style in figure.styles
        for each in ([style.split()[0], f"{style.split()[0]} dots"] if "dots" in style else [style])
    ]
    parts = [f'<path class="still" d="{path(figure, xs, ys)}"/>' for xs, ys in figure.still]
    parts += [f'<path class="line {style}" d="{paths[at]}"/>' for style, at in zip(styles, first)]
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>')
    for tick in figure.x.ticks:
        across = LEFT + float(figure.x.share(tick)) * (RIGHT - LEFT)
        parts.append(
            f'<text x="{across:.1f}" y="{BOTTOM + 17}" text-anchor="middle">{number(tick)}</text>'
        )
    for tick in figure.y.ticks:
        down = BOTTOM - float(figure.y.share(tick)) * (BOTTOM - TOP)
        parts.append(
            f'<text x="{LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{number(tick)}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 38}" text-anchor="middle">{figure.x.label}</text>'
    )
    middle = (TOP + BOTTOM) / 2
    parts.append(
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{figure.y.label}</text>'
    )
    for row, (label, style) in enumerate(zip(figure.names, figure.styles)):
        down = TOP + 10 + 18 * row
        parts.append(
            f'<path class="{style.split()[0]}" d="M{RIGHT - 110} {down}h26"/><text x="{RIGHT - 78}" y="{down + 4}">{label}</text>'
        )
    knobs = []
    for (label, positions), start in zip(figure.knobs.items(), figure.start):
        said = html.escape(positions[start])
        knobs.append(
            f'<label>{label} <input type="range" min="0" max="{len(positions) - 1}" value="{start}" aria-valuetext="{said}" '
            f"data-positions='{html.escape(json.dumps(positions, ensure_ascii=False))}'> <output>{said}</output></label>"
        )
    data = json.dumps([paths, states], ensure_ascii=False, separators=(",", ":")).replace(
        "</", "<\\/"
    )
    return (
        f'<figure class="play" role="group" aria-label="{html.escape(figure.title)}"><p class="play-title">{figure.title}</p>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(figure.title)}. The sentence below says what is seen.">{"".join(parts)}</svg>'
        f'<div class="play-controls pst-js-only">{"".join(knobs)}</div>'
        f'<p class="play-words" role="status">{words}</p>'
        f'<figcaption>{figure.question}</figcaption><script type="application/json">{data}</script></figure>'
    )


class Play(SphinxDirective):
    """The figure of that name."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        if name not in FIGURES:
            raise self.error(
                f"no figure to play with is called {name!r}: there are {', '.join(FIGURES)}"
            )
        return [nodes.raw("", drawn(name), format="html")]


def put_in(app, doctree):
    """Put a chapter's figure at the end of its section."""
    for name, (page, title) in PLACES.items():
        if page != app.env.docname:
            continue
        for section in doctree.findall(nodes.section):
            if section.children[0].astext() == title:
                below = next(
                    (
                        place
                        for place, child in enumerate(section.children)
                        if isinstance(child, nodes.section)
                    ),
                    len(section.children),
                )
                section.insert(below, nodes.raw("", drawn(name), format="html"))
                break
        else:
            raise ExtensionError(f"{page} has no section {title!r} for the figure {name!r}")


def add_script(app, pagename, templatename, context, doctree):
    if 'class="play"' in context.get("body", ""):
        app.add_js_file("play.js", loading_method="defer")


def setup(app):
    app.add_directive("play", Play)
    app.connect("doctree-read", put_in)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True}
