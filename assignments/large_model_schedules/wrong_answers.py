"""Answers that a student would plausibly give, and what they lose and read: see tests/course/test_answers.py."""

# %% predict | loses predict-hidden | says: nothing is learned
first_rate = 0.0
lost = WARMUP / 2
at_half = PEAK / 2

# %% predict | loses predict-hidden | says: A ramp is not free
first_rate = PEAK / (WARMUP + 1)
lost = 0.0
at_half = PEAK / 2

# %% predict | loses predict-hidden | says: has not come down
first_rate = PEAK / (WARMUP + 1)
lost = WARMUP / 2
at_half = 0.0

# %% predict | loses predict-hidden | says: counts the whole ramp
first_rate = PEAK / (WARMUP + 1)
lost = WARMUP
at_half = PEAK / 2


# %% derive | loses derive-check derive-hidden | says: it is no line
def average_rate(peak, floor, share):
    end = floor + (peak - floor) * (1 + np.cos(np.pi * share)) / 2
    return float((peak + end) / 2)


# %% derive | loses derive-check derive-hidden | says: divide by the length of the interval
def average_rate(peak, floor, share):
    left = share / 2 + np.sin(np.pi * share) / (2 * np.pi)
    return float(floor * share + (peak - floor) * left)


# %% derive | loses derive-hidden | says: forgets the floor
def average_rate(peak, floor, share):
    return float(peak * (1 + np.sin(np.pi * share) / (np.pi * share)) / 2)


# %% derive | loses derive-hidden | says: starts at peak + floor
def average_rate(peak, floor, share):
    return float(floor + peak * (1 + np.sin(np.pi * share) / (np.pi * share)) / 2)


# %% implement | loses implement-check implement-hidden | says: so it is wasted
def trapezoid(step, peak, warmup, stable, decay):
    if step < 0:
        raise ValueError("step")
    if step < warmup:
        return float(peak * step / warmup)
    u = (step - warmup - stable) / decay
    return float(peak * (1 - np.sqrt(np.clip(u, 0, 1))))


# %% implement | loses implement-check implement-hidden | says: Your fall is a line
def trapezoid(step, peak, warmup, stable, decay):
    t = np.asarray(step)
    if (t < 0).any():
        raise ValueError("step")
    u = np.clip((t - warmup - stable) / max(decay, 1), 0, 1)
    rate = np.where(t < warmup, peak * (t + 1) / (warmup + 1), peak * (1 - u))
    return rate if isinstance(step, np.ndarray) else float(rate)


# %% implement | loses implement-check implement-hidden | says: training climbs
def trapezoid(step, peak, warmup, stable, decay):
    t = np.asarray(step)
    if (t < 0).any():
        raise ValueError("step")
    u = np.maximum(t - warmup - stable, 0) / max(decay, 1)
    rate = np.where(t < warmup, peak * (t + 1) / (warmup + 1), peak * (1 - np.sqrt(u)))
    return rate if isinstance(step, np.ndarray) else float(rate)


# %% implement | loses implement-hidden | says: raised ValueError
def trapezoid(step, peak, warmup, stable, decay):
    if step < 0:
        raise ValueError("step")
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if step < warmup + stable:
        return float(peak)
    if step < warmup + stable + decay:
        return float(peak * (1 - ((step - warmup - stable) / decay) ** 0.5))
    return 0.0


# %% implement | loses implement-check implement-hidden | says: WarmupStableDecay is what the task asks for
def trapezoid(step, peak, warmup, stable, decay):
    from trainlab.schedules import WarmupStableDecay

    return WarmupStableDecay(peak, warmup, stable, decay)(step)


# %% measure | loses measure-hidden | says: use np.add.at
def train(rates):
    table = np.zeros((V, V))
    for update, rate in enumerate(rates):
        a, b = batch(update)
        p = np.exp(table[a])
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(a)), b] -= 1
        table[a] -= rate * p / len(a)
    a, b = TEST
    return float(np.mean(np.log(np.exp(table[a]).sum(axis=1)) - table[a, b]))


def updates_needed(lengths, share):
    falls = [round(share * length) for length in lengths]
    return sum(lengths), max(lengths) - falls[int(np.argmax(lengths))] + sum(falls)


# %% measure | loses measure-hidden | says: that of the sum over the pairs
def train(rates):
    table = np.zeros((V, V))
    for update, rate in enumerate(rates):
        a, b = batch(update)
        p = np.exp(table[a])
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(a)), b] -= 1
        np.add.at(table, a, -rate * p)
    a, b = TEST
    return float(np.mean(np.log(np.exp(table[a]).sum(axis=1)) - table[a, b]))


def updates_needed(lengths, share):
    falls = [round(share * length) for length in lengths]
    return sum(lengths), max(lengths) - falls[int(np.argmax(lengths))] + sum(falls)


# %% measure | loses measure-check measure-hidden | says: Your branches are free
def train(rates):
    table = np.zeros((V, V))
    for update in range(len(rates)):
        a, b = batch(update)
        p = np.exp(table[a])
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(a)), b] -= 1
        np.add.at(table, a, -rates[0] * p / len(a))
    a, b = TEST
    return float(np.mean(np.log(np.exp(table[a]).sum(axis=1)) - table[a, b]))


def updates_needed(lengths, share):
    return sum(lengths), max(lengths)
