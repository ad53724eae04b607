"""Answers that a student would plausibly give, and what they lose and read.

Each part replaces one cell of the notebook. The tests run it: it loses the points of the checks that are named, no others, and the
first of these checks says what is quoted.
"""

# %% predict | loses predict-hidden | says: arrives in one update
limit = 1 / CURVATURE
one_step = 0.9 / CURVATURE
after_ten = START * (1 - RATE * CURVATURE) ** 10

# %% predict | loses predict-hidden | says: leaves the curvature out
limit = 2 / CURVATURE
one_step = 1 / CURVATURE
after_ten = START * (1 - RATE) ** 10

# %% predict | loses predict-hidden | says: one update off
limit = 2 / CURVATURE
one_step = 1 / CURVATURE
after_ten = START * (1 - RATE * CURVATURE) ** 9

# %% predict | loses predict-hidden | says: takes the first gradient ten times
limit = 2 / CURVATURE
one_step = 1 / CURVATURE
after_ten = START - 10 * RATE * CURVATURE * START

# %% predict | loses predict-check predict-hidden | says: has to be a number, and is a str
limit = "2 / CURVATURE"
one_step = 1 / CURVATURE
after_ten = START * (1 - RATE * CURVATURE) ** 10


# %% derive | loses derive-check derive-hidden | says: that of the *sum*
def gradient(w, b, x, y):
    error = x @ w + b - y
    return 2 * x.T @ error, 2 * float(error.sum())


# %% derive | loses derive-check derive-hidden | says: half of what it should be
def gradient(w, b, x, y):
    error = x @ w + b - y
    return x.T @ error / len(x), float(error.mean())


# %% derive | loses derive-check derive-hidden | says: mean of w's gradient
def gradient(w, b, x, y):
    error = x @ w + b - y
    dw = 2 * x.T @ error / len(x)
    return dw, float(dw.mean())


# %% derive | loses derive-check derive-hidden | says: wrong sign
def gradient(w, b, x, y):
    error = y - x @ w - b
    return 2 * x.T @ error / len(x), 2 * float(error.mean())


# %% derive | loses derive-check derive-hidden | says: has to have the shape
def gradient(w, b, x, y):
    error = x @ w[:, None] + b - y
    return 2 * x.T @ error / len(x), 2 * float(error.mean())


# %% derive | loses derive-hidden | says: has to have the shape (3,)
def gradient(w, b, x, y):
    return np.array([-15.0]), -5.0


# %% implement | loses implement-check implement-hidden | says: has been lowered already
def stairs(step):
    return PEAK * FACTOR ** (step // EVERY + 1)


# %% implement | loses implement-check implement-hidden | says: falls earlier
def stairs(step):
    return PEAK * FACTOR ** (step / EVERY)


# %% implement | loses implement-check implement-hidden | says: subtracts FACTOR
def stairs(step):
    return PEAK - FACTOR * (step // EVERY)


# %% implement | loses implement-hidden | says: lowered once only
def stairs(step):
    return PEAK if step < EVERY else PEAK * FACTOR


# %% implement | loses implement-check implement-hidden | says: StepDecay is what the task asks for
def stairs(step):
    from trainlab.schedules import StepDecay

    return StepDecay(PEAK, FACTOR, EVERY)(step)


# %% implement | loses implement-hidden | says: Your rate falls a little
def stairs(step):
    if step <= EVERY:
        return PEAK * FACTOR ** (step // EVERY)
    return PEAK * FACTOR ** (step / EVERY)


# %% measure | loses measure-check measure-hidden | says: forgets the bias
def largest_rate(x):
    return 2 / float(np.linalg.eigvalsh(2 / len(x) * x.T @ x)[-1])


def losses_after(rates, updates, x, y):
    return np.array([1.0 * updates for rate in rates])


# %% measure | loses measure-check measure-hidden | says: that of the sum, not the mean
def largest_rate(x):
    with_bias = np.column_stack([x, np.ones(len(x))])
    return 2 / float(np.linalg.eigvalsh(2 * with_bias.T @ with_bias)[-1])


def losses_after(rates, updates, x, y):
    return np.array([1.0 * updates for rate in rates])


# %% measure | loses measure-check measure-hidden | says: 1 over the curvature
def largest_rate(x):
    with_bias = np.column_stack([x, np.ones(len(x))])
    return 1 / float(np.linalg.eigvalsh(2 / len(x) * with_bias.T @ with_bias)[-1])


def losses_after(rates, updates, x, y):
    return np.array([1.0 * updates for rate in rates])


# %% measure | loses measure-hidden | says: does each of them start from w = 0
def largest_rate(x):
    with_bias = np.column_stack([x, np.ones(len(x))])
    return 2 / float(np.linalg.eigvalsh(2 / len(x) * with_bias.T @ with_bias)[-1])


def losses_after(rates, updates, x, y):
    ends, w, b = [], np.zeros(x.shape[1]), 0.0
    for rate in rates:
        for _ in range(updates):
            dw, db = gradient(w, b, x, y)
            w, b = w - rate * dw, b - rate * db
        ends.append(np.mean((x @ w + b - y) ** 2))
    return np.array(ends)


# %% measure | loses measure-hidden | says: before the last update
def largest_rate(x):
    with_bias = np.column_stack([x, np.ones(len(x))])
    return 2 / float(np.linalg.eigvalsh(2 / len(x) * with_bias.T @ with_bias)[-1])


def losses_after(rates, updates, x, y):
    ends = []
    for rate in rates:
        w, b = np.zeros(x.shape[1]), 0.0
        for _ in range(updates):
            loss = np.mean((x @ w + b - y) ** 2)
            dw, db = gradient(w, b, x, y)
            w, b = w - rate * dw, b - rate * db
        ends.append(loss)
    return np.array(ends)
