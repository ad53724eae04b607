"""Answers that a student would plausibly give, and what they lose and read: see tests/course/test_answers.py."""

# %% predict | loses predict-hidden | says: the wrong way round
cost = float(-np.sum(np.array(GUESS) * np.log(TRUE)))
gap = float(np.sum(np.array(TRUE) * np.log(np.array(TRUE) / GUESS)))
log_loss_minus = 0.0

# %% predict | loses predict-hidden | says: is in bits
cost = float(-np.sum(np.array(TRUE) * np.log2(GUESS)))
gap = float(np.sum(np.array(TRUE) * np.log2(np.array(TRUE) / GUESS)))
log_loss_minus = 0.0

# %% predict | loses predict-hidden | says: Cross-entropy takes no differences
cost = float(np.sum(np.abs(np.array(TRUE) - GUESS)))
gap = 0.1
log_loss_minus = 0.0

# %% predict | loses predict-hidden | says: The two are the same loss
cost = float(-np.sum(np.array(TRUE) * np.log(GUESS)))
gap = float(np.sum(np.array(TRUE) * np.log(np.array(TRUE) / GUESS)))
log_loss_minus = float(-np.log(RIGHT) + np.log(1 - RIGHT))

# %% predict | loses predict-hidden | says: the least possible cost
cost = float(-np.sum(np.array(TRUE) * np.log(GUESS)))
gap = float(-np.sum(np.array(TRUE) * np.log(TRUE)))
log_loss_minus = 0.0


# %% derive | loses derive-check derive-hidden | says: that of the *sum*
def logit_gradient(logits, labels):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p


# %% derive | loses derive-check derive-hidden | says: predicted minus true
def logit_gradient(logits, labels):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    return (np.eye(logits.shape[1])[labels] - p) / len(labels)


# %% derive | loses derive-hidden | says: exp overflows
def logit_gradient(logits, labels):
    p = np.exp(logits)
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p / len(labels)


# %% derive | loses derive-check derive-hidden | says: the label's logit alone
def logit_gradient(logits, labels):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    g = np.zeros_like(p)
    rows = np.arange(len(labels))
    g[rows, labels] = p[rows, labels] - 1
    return g


# %% derive | loses derive-check derive-hidden | says: softmax_cross_entropy is what the task asks for
def logit_gradient(logits, labels):
    from trainlab.losses import softmax_cross_entropy

    return softmax_cross_entropy(logits, labels).gradient


# %% implement | loses implement-check implement-hidden | says: costs infinity
def binary_loss(logits, labels):
    p = 1 / (1 + np.exp(-logits))
    return -np.log(np.where(labels == 1, p, 1 - p))


# %% implement | loses implement-check implement-hidden | says: Is there a clip
def binary_loss(logits, labels):
    p = np.clip(1 / (1 + np.exp(-logits)), 1e-12, 1 - 1e-12)
    return -np.log(np.where(labels == 1, p, 1 - p))


# %% implement | loses implement-check implement-hidden | says: the wrong way round
def binary_loss(logits, labels):
    return np.logaddexp(0, np.where(labels == 1, logits, -logits))


# %% implement | loses implement-hidden | says: log1p keeps it
def binary_loss(logits, labels):
    u = np.where(labels == 1, -logits, logits)
    return np.maximum(u, 0) + np.log(1 + np.exp(-np.abs(u)))


# %% measure | loses measure-check measure-hidden | says: is that by p
def train(loss, rate, updates):
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(updates):
        p = 1 / (1 + np.exp(-(X @ w + b)))
        slope = (p - Y) / len(Y) * (2 if loss == "squares" else 1)
        w, b = w - rate * X.T @ slope, b - rate * slope.sum()
    return X_TEST @ w + b


# %% measure | loses measure-hidden | says: The bias is missing
def train(loss, rate, updates):
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(updates):
        p = 1 / (1 + np.exp(-(X @ w + b)))
        slope = (p - Y) / len(Y) * (2 * p * (1 - p) if loss == "squares" else 1)
        w, b = w - rate * X.T @ slope, b - rate * slope.sum()
    return X_TEST @ w


# %% measure | loses measure-hidden | says: that of the sum
def train(loss, rate, updates):
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(updates):
        p = 1 / (1 + np.exp(-(X @ w + b)))
        slope = (p - Y) * (2 * p * (1 - p) if loss == "squares" else 1)
        w, b = w - rate * X.T @ slope, b - rate * slope.sum()
    return X_TEST @ w + b


# %% measure | loses measure-check measure-hidden | says: Is a sign turned
def train(loss, rate, updates):
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(updates):
        p = 1 / (1 + np.exp(-(X @ w + b)))
        slope = (Y - p) / len(Y) * (2 * p * (1 - p) if loss == "squares" else 1)
        w, b = w - rate * X.T @ slope, b - rate * slope.sum()
    return X_TEST @ w + b
