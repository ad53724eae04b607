"""The library's schedules inside PyTorch, Optax and Keras, unchanged, and its optimizers beside PyTorch's. `make test-interop` installs all three."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import numpy as np
import pytest

jax = pytest.importorskip("jax", exc_type=ImportError)
keras = pytest.importorskip("keras", exc_type=ImportError)
optax = pytest.importorskip("optax", exc_type=ImportError)
torch = pytest.importorskip("torch", exc_type=ImportError)

from trainlab import schedules
from trainlab.losses import softmax_cross_entropy
from trainlab.numerics import log_softmax
from trainlab.optimizers import NO_DECAY, SGD, Adam, AdamW, Group, Muon
from trainlab.schedules import Cosine, Warmup, WarmupStableDecay
from trainlab.transformer import Decoder

PEAK = 0.5
EVERY = {
    "constant": schedules.Constant(PEAK),
    "exponential": schedules.Exponential(PEAK, 0.5, every=7),
    "staircase": schedules.Exponential(PEAK, 0.5, every=7, staircase=True),
    "step decay": schedules.StepDecay(PEAK, 0.5, every=7),
    "step subtract": schedules.StepSubtract(PEAK, 0.1, every=7, floor=0.1),
    "piecewise": schedules.Piecewise([5, 12], [0.5, 0.1, 0.2]),
    "linear": schedules.LinearDecay(PEAK, 20, floor=0.1),
    "polynomial": schedules.Polynomial(PEAK, 20, power=3.0),
    "cosine": Cosine(PEAK, 20),
    "restarts": schedules.CosineRestarts(PEAK, 4, growth=2),
    "inverse time": schedules.InverseTime(PEAK, 0.5, every=3),
    "inverse sqrt": schedules.InverseSqrt(PEAK, 5),
    "warmup stable decay": WarmupStableDecay(PEAK, 5, 10, 5),
    "one cycle": schedules.OneCycle(PEAK, 20),
    "cyclical": schedules.Cyclical(PEAK, 4, 0.1),
    "warmup": Warmup(Cosine(PEAK, 20), 5),
    "join": schedules.Join([schedules.Constant(PEAK), schedules.LinearDecay(PEAK, 10)], [8]),
}
every_schedule = pytest.mark.parametrize("schedule", EVERY.values(), ids=list(EVERY))


def test_these_are_all_schedules():
    classes = {
        value.__name__  # one has an old name, too
        for value in vars(schedules).values()
        if isinstance(value, type) and issubclass(value, schedules.Schedule)
    }
    assert {type(schedule).__name__ for schedule in EVERY.values()} == classes - {"Schedule"}


# start torch
def pytorch(schedule, updates):
    weight = torch.nn.Parameter(torch.zeros(1))
    # LambdaLR multiplies, so the optimizer's own rate is 1.
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.__call__)
    rates = []
    for _ in range(updates):
        optimizer.zero_grad()
        (-weight).sum().backward()
        optimizer.step()
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return rates, weight.item()


# end torch


@every_schedule
def test_pytorch_uses_the_rates_of_the_schedule(schedule):
    rates, weight = pytorch(schedule, 25)
    assert rates == [schedule(step) for step in range(25)]
    assert weight == pytest.approx(sum(rates), rel=1e-5)


@every_schedule
def test_a_pytorch_scheduler_is_saved_and_loaded(schedule, tmp_path):
    def make():
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.__call__)

    optimizer, scheduler = make()
    for _ in range(9):
        optimizer.step()
        scheduler.step()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "run.pt")
    again, scheduler = make()
    for part, state in zip((again, scheduler), torch.load(tmp_path / "run.pt", weights_only=True)):
        part.load_state_dict(state)
    for step in range(9, 20):
        assert scheduler.get_last_lr()[0] == schedule(step)
        again.step()
        scheduler.step()


# start optax
def with_optax(schedule, updates):
    optimizer = optax.sgd(learning_rate=schedule)

    @jax.jit
    def update(weight, state):
        changes, state = optimizer.update(-jax.numpy.ones_like(weight), state)
        return optax.apply_updates(weight, changes), state

    weight = jax.numpy.zeros(1)
    state, path = optimizer.init(weight), [0.0]
    for _ in range(updates):
        weight, state = update(weight, state)
        path.append(weight.item())
    return np.diff(path)


# end optax


@every_schedule
def test_a_jitted_optax_update_uses_the_rates_of_the_schedule(schedule):
    np.testing.assert_allclose(
        with_optax(schedule, 25), schedule(np.arange(25)), rtol=1e-5, atol=2e-6
    )


@every_schedule
def test_a_traced_step_gives_the_same_rates(schedule):
    steps = np.arange(40)
    traced = jax.vmap(jax.jit(schedule))(steps)
    np.testing.assert_allclose(traced, schedule(steps), rtol=2e-6, atol=1e-7)


# start keras
class Rates(keras.callbacks.Callback):
    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.step = schedule, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.schedule(self.step)
        self.step += 1


# end keras


@every_schedule
def test_a_keras_callback_sets_the_rates_of_the_schedule(schedule):
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(), loss="mse", jit_compile=False)
    model.fit(
        np.ones((20, 1)),
        np.ones((20, 1)),
        batch_size=4,
        epochs=3,
        verbose=0,
        callbacks=[Rates(schedule), Spy()],
    )
    np.testing.assert_allclose(seen, schedule(np.arange(15)), rtol=1e-6)


# start loss
class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context, logits, labels):
        value, gradient = softmax_cross_entropy(logits.detach().numpy(), labels.numpy())
        context.save_for_backward(torch.from_numpy(gradient))
        return logits.new_tensor(value)

    @staticmethod
    def backward(context, upstream):
        (gradient,) = context.saved_tensors
        return upstream * gradient, None


# end loss


def test_a_loss_is_a_function_of_pytorchs_autograd():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(6, 4)), requires_grad=True)
    labels = torch.tensor(rng.integers(0, 4, 6))
    (3 * CrossEntropy.apply(logits, labels)).backward()
    ours, logits.grad = logits.grad, None
    (3 * torch.nn.functional.cross_entropy(logits, labels)).backward()
    np.testing.assert_allclose(ours, logits.grad, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("class_weights", [[1.0] * 4, [3.0] * 4, [0.5, 2.0, 1.0, 4.0]], ids=str)
def test_smoothing_with_class_weights_is_pytorchs_formula_as_the_page_writes_it(
    smoothing, class_weights
):
    rng = np.random.default_rng(0)
    logits, labels, weights = (
        rng.normal(size=(6, 4)),
        rng.integers(0, 4, 6),
        np.array(class_weights),
    )
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits),
        torch.from_numpy(labels),
        weight=torch.from_numpy(weights),
        label_smoothing=smoothing,
    ).item()
    minus_log_p = -log_softmax(logits)
    own = weights[labels] * minus_log_p[np.arange(6), labels]
    spread = (weights * minus_log_p).sum(axis=1)
    formula = ((1 - smoothing) * own + smoothing / 4 * spread).sum() / weights[labels].sum()
    assert theirs == pytest.approx(formula, rel=1e-13)
    ours = softmax_cross_entropy(
        logits, labels, weights=weights[labels], label_smoothing=smoothing
    ).value
    if smoothing == 0 or len(set(class_weights)) == 1:
        assert ours == pytest.approx(theirs, rel=1e-13)
    else:
        assert abs(ours - theirs) > 0.01


# --- The same schedules, as these libraries define them ------------------------------------------


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (Cosine(PEAK, 20), optax.cosine_decay_schedule(PEAK, 20)),
        (Cosine(PEAK, 20, floor=0.1), optax.cosine_decay_schedule(PEAK, 20, alpha=0.2)),
        (schedules.LinearDecay(PEAK, 20, floor=0.1), optax.linear_schedule(PEAK, 0.1, 20)),
        (schedules.Polynomial(PEAK, 20, power=3.0), optax.polynomial_schedule(PEAK, 0.0, 3.0, 20)),
        (schedules.Exponential(PEAK, 0.5, every=7), optax.exponential_decay(PEAK, 7, 0.5)),
        (
            schedules.StepDecay(PEAK, 0.5, every=7),
            optax.exponential_decay(PEAK, 7, 0.5, staircase=True),
        ),
        (
            schedules.Exponential(PEAK, 0.5, every=7, staircase=True),
            optax.exponential_decay(PEAK, 7, 0.5, staircase=True),
        ),
        (Warmup(Cosine(PEAK, 15), 5), optax.warmup_cosine_decay_schedule(0.0, PEAK, 5, 20)),
    ],
    ids=lambda value: repr(value) if isinstance(value, schedules.Schedule) else "",
)
def test_optax_defines_the_same(ours, theirs):
    np.testing.assert_allclose(
        ours(np.arange(30)), [float(theirs(step)) for step in range(30)], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (
            schedules.Exponential(PEAK, 0.5),
            lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
        ),
        (
            schedules.StepDecay(PEAK, 0.5, every=7),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.5),
        ),
        (
            schedules.Piecewise([5, 12], [PEAK, 0.05, 0.005]),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5, 12], 0.1),
        ),
        (
            schedules.Polynomial(PEAK, 20, power=3.0),
            lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 20, 3.0),
        ),
        (
            schedules.CosineRestarts(PEAK, 4, growth=2),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 2),
        ),
        (
            schedules.Cyclical(PEAK, 4, 0.1),
            lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.1, PEAK, 4, cycle_momentum=False),
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, schedules.Schedule) else "",
)
def test_pytorch_defines_the_same(ours, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=PEAK)
    scheduler, rates = theirs(optimizer), []
    for _ in range(30):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(ours(np.arange(30)), rates, rtol=1e-12, atol=1e-15)


# --- The same updates, as PyTorch makes them -----------------------------------------------------

# start groups
GROUPS = [Group("b*", weight_decay=0.0), Group("W1", rate=0.1)]


def param_groups(tensors, rate, decay):
    """The same three groups for PyTorch: biases, the first layer, the rest."""
    return [
        {"params": [tensors["b1"], tensors["b2"]], "lr": rate, "weight_decay": 0.0},
        {"params": [tensors["W1"]], "lr": 0.1 * rate, "weight_decay": decay},
        {"params": [tensors["W2"]], "lr": rate, "weight_decay": decay},
    ]


# end groups


UPDATES = {
    "SGD": (SGD(weight_decay=0.1, groups=GROUPS), torch.optim.SGD, {}, 0.1),
    "momentum": (
        SGD(0.9, weight_decay=0.1, groups=GROUPS),
        torch.optim.SGD,
        {"momentum": 0.9},
        0.1,
    ),
    "Nesterov": (
        SGD(0.9, nesterov=True, weight_decay=0.1, groups=GROUPS),
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True},
        0.1,
    ),
    "Adam": (Adam(groups=[Group("W1", rate=0.1)]), torch.optim.Adam, {}, 0.0),
    "AdamW": (
        AdamW(0.8, 0.9, 1e-6, weight_decay=0.1, groups=GROUPS),
        torch.optim.AdamW,
        {"betas": (0.8, 0.9), "eps": 1e-6},
        0.1,
    ),
}


@pytest.mark.parametrize("ours, theirs, options, decay", UPDATES.values(), ids=list(UPDATES))
def test_groups_are_pytorchs_param_groups(ours, theirs, options, decay):
    rng, rate = np.random.default_rng(0), 0.05
    params = {
        name: rng.normal(size=shape)
        for name, shape in (("W1", (4, 3)), ("b1", 3), ("W2", (3, 2)), ("b2", 2))
    }
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in params.items()}
    optimizer, state = theirs(param_groups(tensors, rate, decay), **options), ours.init(params)
    for step in range(30):
        gradients = {
            name: rng.normal(size=value.shape) * 10.0 ** rng.integers(-4, 2)
            for name, value in params.items()
        }
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[name])
        optimizer.step()
        ours.update(params, gradients, state, rate)
        for name, tensor in tensors.items():
            np.testing.assert_allclose(
                params[name],
                tensor.detach().numpy(),
                rtol=1e-11,
                atol=1e-13,
                err_msg=f"{name} {step}",
            )


def test_the_usual_decay_of_a_decoder_is_that_of_its_weights_alone():
    rng, ours = np.random.default_rng(0), AdamW(weight_decay=0.1, groups=[NO_DECAY])
    params = Decoder(5, 6, 4, 2, 2, np.float64).init(rng)
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in params.items()}
    weights = [tensor for name, tensor in tensors.items() if name.startswith("W_")]
    rest = [tensor for name, tensor in tensors.items() if not name.startswith("W_")]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer, state = torch.optim.AdamW(groups, lr=0.01), ours.init(params)
    for _ in range(30):
        gradients = {name: rng.normal(size=value.shape) for name, value in params.items()}
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[name])
        optimizer.step()
        ours.update(params, gradients, state, 0.01)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(
            params[name], tensor.detach().numpy(), rtol=1e-11, atol=1e-13, err_msg=name
        )


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("exact", [True, False], ids=["in float64", "in bfloat16"])
def test_muon_is_pytorchs_muon_for_the_matrices_and_its_adamw_for_the_rest(
    nesterov, exact, monkeypatch
):
    rng, rate, decay = np.random.default_rng(0), 0.02, 0.1
    ours = Muon(0.9, nesterov=nesterov, weight_decay=decay)
    params = Decoder(5, 6, 8, 2, 2, np.float64 if exact else np.float32).init(rng)
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in params.items()}
    hidden = [tensor for name, tensor in tensors.items() if name.startswith("W_")]
    rest = [tensor for name, tensor in tensors.items() if not name.startswith("W_")]
    theirs = [
        torch.optim.Muon(
            hidden,
            lr=rate,
            weight_decay=decay,
            momentum=0.9,
            nesterov=nesterov,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(rest, lr=rate, weight_decay=decay),
    ]
    if exact:  # PyTorch orthogonalises in bfloat16 whatever the parameters' type
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    state, start = ours.init(params), {name: value.copy() for name, value in params.items()}
    for _ in range(10):
        for name, tensor in tensors.items():
            gradient = rng.normal(size=tensor.shape).astype(params[name].dtype)
            tensor.grad = torch.tensor(gradient)
        gradients = {name: tensor.grad.numpy() for name, tensor in tensors.items()}
        for each in theirs:
            each.step()
        ours.update(params, gradients, state, rate)
    for name, tensor in tensors.items():
        found, expected = params[name], tensor.detach().numpy()
        if exact or not name.startswith("W_"):
            digits = {"rtol": 1e-11, "atol": 1e-12} if exact else {"rtol": 1e-4, "atol": 1e-6}
            np.testing.assert_allclose(found, expected, err_msg=name, **digits)
        else:
            # bfloat16 has 8 bits: each of the five rounds leaves an error of about 1/256 in every
            # entry, so 10 updates end within a few hundredths of the way.
            off = np.linalg.norm(found - expected) / np.linalg.norm(found - start[name])
            assert 1e-4 < off < 0.05, name


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_decoder_is_pytorchs_transformer_layers_with_the_norms_in_front_or_behind(norm):
    model = Decoder(7, 6, 8, 2, 3, np.float64, norm=norm)
    rng = np.random.default_rng(0)
    params = {
        name: value + rng.normal(0, 0.3, value.shape) for name, value in model.init(rng).items()
    }
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    tokens, labels = rng.integers(0, 7, (2, 3, 5))
    x = tensors["E"][torch.tensor(tokens)] + tensors["P"][:5]
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for i in range(1, 4):
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, 32, dropout=0.0, batch_first=True, norm_first=norm == "pre", dtype=torch.float64
        )
        names = {
            "self_attn.in_proj_weight": f"W_qkv{i}",
            "self_attn.in_proj_bias": f"b_qkv{i}",
            "self_attn.out_proj.weight": f"W_mix{i}",
            "self_attn.out_proj.bias": f"b_mix{i}",
            "linear1.weight": f"W_up{i}",
            "linear1.bias": f"b_up{i}",
            "linear2.weight": f"W_down{i}",
            "linear2.bias": f"b_down{i}",
            "norm1.weight": f"gain_attention{i}",
            "norm1.bias": f"bias_attention{i}",
            "norm2.weight": f"gain_mlp{i}",
            "norm2.bias": f"bias_mlp{i}",
        }
        assert names.keys() == dict(layer.named_parameters()).keys()
        given = {
            theirs: tensors[ours].mT if ours[0] == "W" else tensors[ours]
            for theirs, ours in names.items()
        }
        x = torch.func.functional_call(layer, given, (x,), {"src_mask": mask, "is_causal": True})
    if norm == "pre":
        x = torch.nn.functional.layer_norm(x, (8,), tensors["gain"], tensors["bias"])
    expected = x @ tensors["E"].T
    logits, cache = model.forward(params, tokens)
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.tensor(labels.ravel())
    ).backward()
    gradients = model.backward(params, cache, softmax_cross_entropy(logits, labels).gradient)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(
            gradients[name], tensor.grad.numpy(), rtol=1e-8, atol=1e-11, err_msg=name
        )
