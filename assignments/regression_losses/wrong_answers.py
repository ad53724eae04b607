"""Answers that a student would plausibly give, and what they lose and read: see tests/course/test_answers.py."""

# %% predict | loses predict-hidden | says: Squares feel the far target
square_best = float(np.median(TARGETS))
absolute_best = float(np.median(TARGETS))
level_best = sorted(TARGETS)[int(np.ceil(LEVEL * 5)) - 1]

# %% predict | loses predict-hidden | says: The absolute error pulls with one force
square_best = float(np.mean(TARGETS))
absolute_best = float(np.mean(TARGETS))
level_best = sorted(TARGETS)[int(np.ceil(LEVEL * 5)) - 1]

# %% predict | loses predict-hidden | says: belongs to 1 − LEVEL
square_best = float(np.mean(TARGETS))
absolute_best = float(np.median(TARGETS))
level_best = sorted(TARGETS)[int(np.ceil((1 - LEVEL) * 5)) - 1]

# %% predict | loses predict-hidden | says: lies between two targets
square_best = float(np.mean(TARGETS))
absolute_best = float(np.median(TARGETS))
level_best = float(np.quantile(TARGETS, LEVEL))


# %% derive | loses derive-check derive-hidden | says: that of the *sum*
def huber_gradient(predictions, targets, delta):
    if predictions.shape != targets.shape:
        raise ValueError("shapes differ")
    return np.clip(predictions - targets, -delta, delta)


# %% derive | loses derive-check derive-hidden | says: wrong sign
def huber_gradient(predictions, targets, delta):
    if predictions.shape != targets.shape:
        raise ValueError("shapes differ")
    return np.clip(targets - predictions, -delta, delta) / len(targets)


# %% derive | loses derive-check derive-hidden | says: your slope is 1
def huber_gradient(predictions, targets, delta):
    if predictions.shape != targets.shape:
        raise ValueError("shapes differ")
    e = predictions - targets
    return np.where(np.abs(e) <= delta, e, np.sign(e)) / len(targets)


# %% derive | loses derive-hidden | says: A column of four and a row of four
def huber_gradient(predictions, targets, delta):
    return np.clip(predictions - targets, -delta, delta) / len(targets)


# %% derive | loses derive-check derive-hidden | says: huber is what the task asks for
def huber_gradient(predictions, targets, delta):
    from trainlab import losses

    return losses.huber(predictions, targets, delta=delta).gradient


# %% implement | loses implement-check implement-hidden | says: the wrong way round
def pinball(predictions, targets, level):
    d = predictions - targets
    slope = np.where(d > 0, level, level - 1)
    return float(np.mean(np.maximum(level * d, (level - 1) * d))), slope / len(d)


# %% implement | loses implement-check implement-hidden | says: Your gradient is that of the sum
def pinball(predictions, targets, level):
    d = targets - predictions
    return float(np.mean(np.maximum(level * d, (level - 1) * d))), np.where(
        d > 0, -level, 1 - level
    )


# %% implement | loses implement-check implement-hidden | says: that by the *targets*
def pinball(predictions, targets, level):
    d = targets - predictions
    slope = np.where(d > 0, level, level - 1)
    return float(np.mean(np.maximum(level * d, (level - 1) * d))), slope / len(d)


# %% implement | loses implement-hidden | says: your gradient is not the slope
def pinball(predictions, targets, level):
    d = targets - predictions
    value = float(np.mean(np.maximum(level * d, (level - 1) * d)))
    return value, np.array([-0.45, 0.05]) if len(d) == 2 else np.zeros(len(d))


# %% measure | loses measure-check measure-hidden | says: followed an error of 9 in full
def fit(x, y, delta, rate, updates):
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(updates):
        e = (x @ w + b - y) / len(y)
        w, b = w - rate * x.T @ e, b - rate * float(e.sum())
    return w, b


def test_error(delta):
    w, b = fit(X, Y_BAD, delta, 0.3, 300)
    return float(np.mean(np.abs(X_TEST @ w + b - Y_TEST)))


# %% measure | loses measure-hidden | says: on the training patients
def fit(x, y, delta, rate, updates):
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(updates):
        slope = np.clip(x @ w + b - y, -delta, delta) / len(y)
        w, b = w - rate * x.T @ slope, b - rate * float(slope.sum())
    return w, b


def test_error(delta):
    w, b = fit(X, Y_BAD, delta, 0.3, 300)
    return float(np.mean(np.abs(X @ w + b - Y_BAD)))


# %% measure | loses measure-hidden | says: Your error is the squared one
def fit(x, y, delta, rate, updates):
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(updates):
        slope = np.clip(x @ w + b - y, -delta, delta) / len(y)
        w, b = w - rate * x.T @ slope, b - rate * float(slope.sum())
    return w, b


def test_error(delta):
    w, b = fit(X, Y_BAD, delta, 0.3, 300)
    return float(np.mean((X_TEST @ w + b - Y_TEST) ** 2))


# %% measure | loses measure-check measure-hidden | says: no bias that moves
def fit(x, y, delta, rate, updates):
    w = np.zeros(x.shape[1])
    for _ in range(updates):
        w = w - rate * x.T @ np.clip(x @ w - y, -delta, delta) / len(y)
    return w, 0.0


def test_error(delta):
    w, b = fit(X, Y_BAD, delta, 0.3, 300)
    return float(np.mean(np.abs(X_TEST @ w + b - Y_TEST)))
