"""Moments: saved, added, solved again, as good as the rows."""

import numpy as np
import pytest
from conftest import planted

from voxelcast import FitWarning, Moments, RidgeCV

ALPHAS = np.logspace(0, 5, 11)


def assert_close(found, expected, data):
    """f32 roundings: of XᵀY over the rows, in the scores and in the weights."""
    np.testing.assert_allclose(found.cv_scores_, expected.cv_scores_, atol=1e-5)
    same = found.best_alphas_ == expected.best_alphas_
    top = np.sort(expected.cv_scores_, axis=0)[-2:]
    assert (same | (top[1] - top[0] < 2e-5) | np.isnan(expected.best_alphas_)).all()
    bound = 8 * np.finfo(np.float32).eps * np.sqrt(len(data.X)) * np.abs(expected.coef_).max()
    np.testing.assert_allclose(found.coef_[:, same], expected.coef_[:, same], atol=bound)
    np.testing.assert_allclose(found.intercept_[same], expected.intercept_[same], atol=20 * bound)


@pytest.mark.parametrize("scoring", ["correlation", "r2"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_moments_solve_as_the_rows_do(data, scoring, fit_intercept):
    moments = Moments.from_data(data.X, data.Y, data.groups)
    assert (moments.n_features, moments.n_targets) == (23, 70)
    assert moments.n_rows.sum() == 220 and len(moments.groups) == 11
    expected = RidgeCV(ALPHAS, 5, scoring, "gram", fit_intercept=fit_intercept).fit(
        data.X, data.Y, groups=data.groups
    )
    found = moments.solve(ALPHAS, 5, scoring, fit_intercept)
    assert_close(found, expected, data)
    np.testing.assert_allclose(found.predict(data.X), expected.predict(data.X), atol=1e-4)
    folds = np.array([moments.groups.tolist().index(group) for group in data.groups])
    splits = [np.flatnonzero(folds == k) for k in range(11)]
    expected = RidgeCV(ALPHAS, splits, scoring, "gram", fit_intercept=fit_intercept).fit(
        data.X, data.Y
    )
    assert_close(moments.solve(ALPHAS, None, scoring, fit_intercept), expected, data)


def test_more_tiles_and_threads_change_nothing():
    data = planted(3, 130, 7, 1300)
    one = Moments.from_data(data.X, data.Y, data.groups, n_threads=1)
    two = Moments.from_data(data.X, data.Y, data.groups, n_threads=2)
    for name, sums in one._sums.items():
        np.testing.assert_array_equal(sums, two._sums[name], name)
    first, second = one.solve(ALPHAS, 3, n_threads=1), two.solve(ALPHAS, 3, n_threads=2)
    np.testing.assert_array_equal(first.coef_, second.coef_)


def test_sessions_add_up_to_the_whole(data):
    whole = Moments.from_data(data.X, data.Y, data.groups)
    # Three sessions: a story that goes on in the next one, stories that come later; each session
    # with a mean of its own.
    rows = [slice(0, 61), slice(61, 140), slice(140, None)]
    parts = [Moments.from_data(data.X[r], data.Y[r], data.groups[r]) for r in rows]
    total = parts[0] + parts[1] + parts[2]
    assert total.groups.tolist() == whole.groups.tolist()
    np.testing.assert_array_equal(total.n_rows, whole.n_rows)
    assert_close(total.solve(ALPHAS, 5), whole.solve(ALPHAS, 5), data)
    assert_close(
        total.solve(ALPHAS, 4, fit_intercept=False),
        whole.solve(ALPHAS, 4, fit_intercept=False),
        data,
    )
    # Adding leaves what was added as it was.
    again = Moments.from_data(data.X[rows[0]], data.Y[rows[0]], data.groups[rows[0]])
    for name, sums in again._sums.items():
        np.testing.assert_array_equal(parts[0]._sums[name], sums, name)


def test_moments_are_the_same_after_a_file(tmp_path, data):
    labels = np.array([f"story {group}" for group in data.groups])
    moments = Moments.from_data(data.X, data.Y, labels)
    moments.save(tmp_path / "subject.moments")
    assert [path.name for path in tmp_path.iterdir()] == ["subject.moments"]
    again = Moments.load(tmp_path / "subject.moments")
    assert again.groups.tolist() == moments.groups.tolist()
    first, second = moments.solve(ALPHAS, 3), again.solve(ALPHAS, 3)
    np.testing.assert_array_equal(first.cv_scores_, second.cv_scores_)
    np.testing.assert_array_equal(first.coef_, second.coef_)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="expected voxelcast.moments/1"):
        Moments.load(tmp_path / "other.npz")


def test_dead_voxels_stay_dead_and_constants_that_differ_come_alive(data):
    Y = data.Y.copy()
    Y[3, 5], Y[:, 9], Y[:110, 11], Y[110:, 11] = np.nan, 4.0, 1.0, 2.0
    halves = [slice(0, 110), slice(110, None)]
    first, second = (Moments.from_data(data.X[r], Y[r], data.groups[r]) for r in halves)
    with pytest.warns(FitWarning):
        model = (first + second).solve(ALPHAS, 3)
    with pytest.warns(FitWarning):
        expected = RidgeCV(ALPHAS, 3, solver="gram").fit(data.X, Y, groups=data.groups)
    dead = np.isnan(expected.best_alphas_)
    assert np.flatnonzero(dead).tolist() == [5, 9]
    np.testing.assert_array_equal(np.isnan(model.best_alphas_), dead)
    np.testing.assert_allclose(model.cv_scores_[:, ~dead], expected.cv_scores_[:, ~dead], atol=1e-5)


def test_what_does_not_go_together_is_refused(data):
    moments = Moments.from_data(data.X, data.Y, data.groups)
    with pytest.raises(ValueError, match="features and targets, got"):
        moments + Moments.from_data(data.X[:, 1:], data.Y, data.groups)
    with pytest.raises(TypeError):
        moments + 1
    with pytest.raises(ValueError, match="expected 2 to 11 folds"):
        moments.solve(ALPHAS, 12)
    with pytest.raises(ValueError, match="expected 220 rows as in X, got 219"):
        Moments.from_data(data.X, data.Y[1:], data.groups)
    with pytest.raises(ValueError, match="expected at least 2 folds"):
        Moments.from_data(data.X, data.Y, np.zeros(220)).solve(ALPHAS)
    X = data.X.copy()
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7, column 1|finite"):
        Moments.from_data(X, data.Y, data.groups)
    moments._sums["gram"] = moments._sums["gram"] * np.nan
    with pytest.raises(ValueError, match="expected finite sums"):
        moments.solve(ALPHAS, 3)
