"""Answers that a student would plausibly give, and what they lose and read: see tests/course/test_answers.py."""

# %% predict | loses predict-hidden | says: that of one run against one
best_of = 0.5
lucky = 1 - 0.95**LOOKS

# %% predict | loses predict-hidden | says: RUNS separate duels
best_of = 1 - 0.5**RUNS
lucky = 1 - 0.95**LOOKS

# %% predict | loses predict-hidden | says: adds 5 % for each look
best_of = RUNS / (RUNS + 1)
lucky = 0.05 * LOOKS

# %% predict | loses predict-hidden | says: that *none* is significant
best_of = RUNS / (RUNS + 1)
lucky = 0.95**LOOKS

# %% find | loses findall-hidden | says: is in statement
flaws = {2, 4, 6, 8, 9}

# %% find | loses findmost-hidden findall-hidden | says: lets others check
flaws = {1, 4, 6, 9, 10}

# %% find | loses find-check findmost-hidden findall-hidden | says: and names 3
flaws = {2, 4, 6}

# %% find | loses find-check findmost-hidden findall-hidden | says: has to name five
flaws = set(range(1, 11))


# %% interval | loses interval-check interval-hidden | says: as strangers
def paired_interval(first, second):
    from scipy.stats import t

    n, mean = len(first), float(first.mean() - second.mean())
    half = t.ppf(0.975, 2 * n - 2) * ((first.var(ddof=1) + second.var(ddof=1)) / n) ** 0.5
    return mean, mean - float(half), mean + float(half)


# %% interval | loses interval-check interval-hidden | says: the normal distribution
def paired_interval(first, second):
    d = first - second
    half = 1.959964 * d.std(ddof=1) / len(d) ** 0.5
    return float(d.mean()), float(d.mean() - half), float(d.mean() + half)


# %% interval | loses interval-check interval-hidden | says: that of one difference
def paired_interval(first, second):
    from scipy.stats import t

    d = first - second
    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1)
    return float(d.mean()), float(d.mean() - half), float(d.mean() + half)


# %% interval | loses interval-check interval-hidden | says: Your spread divides by n
def paired_interval(first, second):
    from scipy.stats import t

    d = first - second
    half = t.ppf(0.975, len(d) - 1) * d.std() / len(d) ** 0.5
    return float(d.mean()), float(d.mean() - half), float(d.mean() + half)


# %% repair | loses repair-hidden | says: chosen on the test images
def fair(momenta, rates, tuning_seeds, seeds):
    chosen, errors = [], []
    for momentum in momenta:
        means = [
            np.mean([run(momentum, rate, s)[1] for s in tuning_seeds]) for rate in sorted(rates)
        ]
        chosen.append(sorted(rates)[int(np.argmin(means))])
        errors.append([run(momentum, chosen[-1], seed)[1] for seed in seeds])
    return chosen, np.array(errors)


# %% repair | loses repair-hidden | says: with the seeds that give the result
def fair(momenta, rates, tuning_seeds, seeds):
    chosen, errors = [], []
    for momentum in momenta:
        means = [np.mean([run(momentum, rate, s)[0] for s in seeds]) for rate in sorted(rates)]
        chosen.append(sorted(rates)[int(np.argmin(means))])
        errors.append([run(momentum, chosen[-1], seed)[1] for seed in seeds])
    return chosen, np.array(errors)


# %% repair | loses repair-hidden | says: Both methods have the same rate
def fair(momenta, rates, tuning_seeds, seeds):
    means = [np.mean([run(momenta[0], rate, s)[0] for s in tuning_seeds]) for rate in sorted(rates)]
    rate = sorted(rates)[int(np.argmin(means))]
    errors = [[run(momentum, rate, seed)[1] for seed in seeds] for momentum in momenta]
    return [rate] * len(momenta), np.array(errors)


# %% repair | loses repair-check repair-hidden | says: those on the validation images
def fair(momenta, rates, tuning_seeds, seeds):
    chosen, errors = [], []
    for momentum in momenta:
        means = [
            np.mean([run(momentum, rate, s)[0] for s in tuning_seeds]) for rate in sorted(rates)
        ]
        chosen.append(sorted(rates)[int(np.argmin(means))])
        errors.append([run(momentum, chosen[-1], seed)[0] for seed in seeds])
    return chosen, np.array(errors)
