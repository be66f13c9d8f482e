"""scikit-learn's Ridge, one fit per fold and alpha, scores by NumPy.

scikit-learn has no estimator for this problem: RidgeCV with alpha_per_target=True scores by
leave-one-row-out only, and GridSearchCV takes one alpha for all targets. This loop is the nearest
that a user can write: Ridge.fit on the training rows of each fold for each alpha, all voxels at
once; Pearson r on the rows held out; then one refit for each alpha that some voxel took.
"""

import common  # first: starts the clock

import time

import numpy as np

parser = common.arguments(__doc__)
parser.add_argument("--solver", default="cholesky", help="Ridge's solver; cholesky is its default for dense x")
args = parser.parse_args()

from sklearn.linear_model import Ridge

x, y, alphas, cv = common.load_ridge(args.data)


def correlation(bold, pred):
    """Pearson r of each column, sums in f64; overwrites pred."""
    bold = bold - bold.mean(0)
    pred -= pred.mean(0)
    cross = np.einsum("ij,ij->j", bold, pred, dtype=np.float64)
    power = np.einsum("ij,ij->j", bold, bold, dtype=np.float64)
    power *= np.einsum("ij,ij->j", pred, pred, dtype=np.float64)
    return cross / np.sqrt(power)


start = time.perf_counter()
scores = np.zeros((len(alphas), y.shape[1]))
for train, val in cv:
    x_train, y_train, x_val, y_val = x[train], y[train], x[val], y[val]
    for a, alpha in enumerate(alphas):
        model = Ridge(alpha=alpha, solver=args.solver).fit(x_train, y_train)
        scores[a] += correlation(y_val, model.predict(x_val)) / len(cv)

chosen = len(alphas) - 1 - scores[::-1].argmax(0)  # equal scores: the larger alpha
coef = np.empty((x.shape[1], y.shape[1]), x.dtype)
intercept = np.empty(y.shape[1], x.dtype)
for a in np.unique(chosen):
    voxels = np.flatnonzero(chosen == a)
    model = Ridge(alpha=alphas[a], solver=args.solver).fit(x, y[:, voxels])
    coef[:, voxels] = np.atleast_2d(model.coef_).T  # one voxel alone comes back flat
    intercept[voxels] = model.intercept_
inside = time.perf_counter() - start

common.save(
    args.out, best_alpha=alphas[chosen], coef=coef, intercept=intercept, cv_scores=scores.astype("f4")
)
common.report(inside)
