"""Answers that a student would plausibly give, and what they lose and read: see tests/course/test_answers.py."""

# %% predict | loses predict-hidden | says: a last batch that is not full
updates = EPOCHS * -(-EXAMPLES // BATCH)
noise_ratio = LARGER**0.5
far_rate = RATE * LARGER

# %% predict | loses predict-hidden | says: that of the variances
updates = EPOCHS * (EXAMPLES // BATCH)
noise_ratio = float(LARGER)
far_rate = RATE * LARGER

# %% predict | loses predict-hidden | says: walks LARGER times less far
updates = EPOCHS * (EXAMPLES // BATCH)
noise_ratio = LARGER**0.5
far_rate = RATE

# %% predict | loses predict-hidden | says: The root rule keeps the noise
updates = EPOCHS * (EXAMPLES // BATCH)
noise_ratio = LARGER**0.5
far_rate = RATE * LARGER**0.5

# %% predict | loses predict-check predict-hidden | says: has to be a whole number
updates = EPOCHS * EXAMPLES / BATCH
noise_ratio = LARGER**0.5
far_rate = RATE * LARGER


# %% derive | loses derive-check derive-hidden | says: *with* replacement
def expected_error(gradients, batch):
    return float(gradients.var(axis=0).sum() / batch)


# %% derive | loses derive-check derive-hidden | says: divide by n − 1
def expected_error(gradients, batch):
    return float(gradients.var(axis=0).sum() / batch * (1 - batch / len(gradients)))


# %% derive | loses derive-check derive-hidden | says: Yours is the distance
def expected_error(gradients, batch):
    n = len(gradients)
    return float((gradients.var(axis=0, ddof=1).sum() / batch * (1 - batch / n)) ** 0.5)


# %% derive | loses derive-hidden | says: not their sum
def expected_error(gradients, batch):
    n = len(gradients)
    return float(gradients.var(axis=0, ddof=1).mean() / batch * (1 - batch / n))


# %% derive | loses derive-hidden | says: is not that of all the batches
def expected_error(gradients, batch):
    return 0.0 if batch == len(gradients) else 5 / 12


# %% implement | loses implement-check implement-hidden | says: comes twice in one epoch
def batches(n, batch, seed, epoch):
    if batch > n:
        raise ValueError("too large")
    rng = np.random.default_rng((seed, epoch))
    return [rng.choice(n, batch, replace=False) for _ in range(n // batch)]


# %% implement | loses implement-hidden | says: Every epoch has the same order
def batches(n, batch, seed, epoch):
    if batch > n:
        raise ValueError("too large")
    order = np.random.default_rng(seed).permutation(n)
    return [order[i * batch : (i + 1) * batch] for i in range(n // batch)]


# %% implement | loses implement-hidden | says: epoch 0 of the next seed
def batches(n, batch, seed, epoch):
    if batch > n:
        raise ValueError("too large")
    order = np.random.default_rng(seed + epoch).permutation(n)
    return [order[i * batch : (i + 1) * batch] for i in range(n // batch)]


# %% implement | loses implement-check implement-hidden | says: waits for another epoch
def batches(n, batch, seed, epoch):
    if batch > n:
        raise ValueError("too large")
    order = np.random.default_rng((seed, epoch)).permutation(n)
    return [order[start : start + batch] for start in range(0, n, batch)]


# %% implement | loses implement-check | says: cannot be drawn
def batches(n, batch, seed, epoch):
    order = np.random.default_rng((seed, epoch)).permutation(n)
    return [order[i * batch : (i + 1) * batch] for i in range(n // batch)]


# %% implement | loses implement-check implement-hidden | says: no run can be repeated
def batches(n, batch, seed, epoch):
    if batch > n:
        raise ValueError("too large")
    order = np.arange(n)
    np.random.shuffle(order)
    order = np.random.permutation(order) if np.array_equal(order, np.arange(n)) else order
    return [order[i * batch : (i + 1) * batch] for i in range(n // batch)] if epoch >= 0 else []


# %% measure | loses measure-check measure-hidden | says: starts where the first one stopped
def losses_after(sizes, rate, updates, x, y, seed):
    ends, w = [], np.zeros(x.shape[1])
    for size in sizes:
        each = len(x) // size
        for update in range(updates):
            rows = batch_order(seed, update // each, len(x))[update % each * size :][:size]
            w = w - rate * 2 / size * x[rows].T @ (x[rows] @ w - y[rows])
        ends.append(np.mean((x @ w - y) ** 2))
    return np.array(ends)


# %% measure | loses measure-hidden | says: counts epochs
def losses_after(sizes, rate, updates, x, y, seed):
    ends = []
    for size in sizes:
        w = np.zeros(x.shape[1])
        for epoch in range(updates):
            order = batch_order(seed, epoch, len(x))
            for start in range(0, len(x) - size + 1, size):
                rows = order[start : start + size]
                w = w - rate * 2 / size * x[rows].T @ (x[rows] @ w - y[rows])
        ends.append(np.mean((x @ w - y) ** 2))
    return np.array(ends)


# %% measure | loses measure-check measure-hidden | says: Is yours that of one batch
def losses_after(sizes, rate, updates, x, y, seed):
    ends = []
    for size in sizes:
        w, each = np.zeros(x.shape[1]), len(x) // size
        for update in range(updates):
            rows = batch_order(seed, update // each, len(x))[update % each * size :][:size]
            loss = np.mean((x[rows] @ w - y[rows]) ** 2)
            w = w - rate * 2 / size * x[rows].T @ (x[rows] @ w - y[rows])
        ends.append(loss)
    return np.array(ends)


# %% measure | loses measure-hidden | says: is the order that of the right epoch
def losses_after(sizes, rate, updates, x, y, seed):
    ends = []
    for size in sizes:
        w, each = np.zeros(x.shape[1]), len(x) // size
        for update in range(updates):
            rows = batch_order(seed, 0, len(x))[update % each * size :][:size]
            w = w - rate * 2 / size * x[rows].T @ (x[rows] @ w - y[rows])
        ends.append(np.mean((x @ w - y) ** 2))
    return np.array(ends)
