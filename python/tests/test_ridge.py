"""RidgeCV: the command's numbers, from arrays in any layout."""

import pickle

import numpy as np
import pytest
from conftest import planted
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)

from voxelcast import FitWarning, Moments, RidgeCV, correlation_score

ALPHAS = np.logspace(0, 5, 11)
#: Attribute and the command's file.
FILES = {
    "cv_scores_": "cv_scores",
    "best_alphas_": "best_alpha",
    "coef_": "coef",
    "intercept_": "intercept",
}


def fitted(data, **settings):
    settings = {"alphas": ALPHAS, "cv": 5, **settings}
    return RidgeCV(**settings).fit(data.X, data.Y, groups=data.groups)


def assert_same(found, expected):
    for name in FILES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({}, []),
        ({"scoring": "r2"}, ["--scorer", "r2"]),
        ({"solver": "dual"}, ["--solver", "dual"]),
        ({"solver": "svd"}, ["--solver", "svd"]),
        ({"fit_intercept": False}, ["--no-intercept"]),
        ({"alpha_tolerance": 0.05}, ["--alpha-tolerance", "0.05"]),
        ({"cv": 3, "n_threads": 1}, ["--folds", "3"]),
    ],
)
def test_results_are_the_commands_bit_for_bit(command, tmp_path, dtype, settings, flags):
    data = planted(2, 210, 19, 600, dtype)
    for name in ("X", "Y", "groups"):
        np.save(tmp_path / f"{name}.npy", getattr(data, name))
    if "--folds" not in flags:
        flags = ["--folds", "5", *flags]
    command(
        "ridge", "--x", tmp_path / "X.npy", "--y", tmp_path / "Y.npy",
        "--groups", tmp_path / "groups.npy", "--alphas", "logspace(0,5,11)", *flags,
        "--out", tmp_path / "out",
    )  # fmt: skip
    alphas = np.load(tmp_path / "out" / "alphas.npy")
    model = fitted(data, alphas=alphas, **settings)
    for attribute, name in FILES.items():
        expected = np.load(tmp_path / "out" / f"{name}.npy")
        found = getattr(model, attribute)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, attribute)


def test_the_default_grid_is_the_commands(command, tmp_path, data):
    for name in ("X", "Y", "groups"):
        np.save(tmp_path / f"{name}.npy", getattr(data, name))
    command(
        "ridge", "--x", tmp_path / "X.npy", "--y", tmp_path / "Y.npy", "--groups",
        tmp_path / "groups.npy", "--folds", 5, "--alphas", "logspace(0,8,17)",
        "--out", tmp_path,
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "alphas.npy"), RidgeCV().alphas)


def test_the_layout_of_arrays_changes_nothing(tmp_path, data):
    expected = fitted(data)
    wide = np.zeros((2 * data.Y.shape[0], 3 * data.Y.shape[1]), np.float32)
    wide[::2, ::3] = data.Y
    np.save(tmp_path / "Y.npy", data.Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    shifted = np.frombuffer(b"\0" + data.Y.tobytes(), np.uint8)[1:].view(np.float32)
    layouts = {
        "fortran": np.asfortranarray(data.Y),
        "strided": wide[::2, ::3],
        "reversed": np.ascontiguousarray(data.Y[::-1])[::-1],
        "float64": data.Y.astype(np.float64),
        "big endian": data.Y.astype(">f4"),
        "mapped": mapped,
        "unaligned": shifted.reshape(data.Y.shape),
    }
    for name, Y in layouts.items():
        model = RidgeCV(ALPHAS).fit(data.X, Y, groups=data.groups)
        for attribute in FILES:
            found = getattr(model, attribute)
            np.testing.assert_array_equal(found, getattr(expected, attribute), name)
    model = RidgeCV(ALPHAS).fit(np.asfortranarray(data.X), data.Y, groups=data.groups)
    assert_same(model, expected)
    whole = np.round(data.Y * 50).astype(np.int16)
    model = RidgeCV(ALPHAS).fit(data.X, whole, groups=data.groups)
    assert_same(model, RidgeCV(ALPHAS).fit(data.X, whole.astype(np.float32), groups=data.groups))


def test_a_mapped_file_is_not_read_into_an_array(tmp_path, data, monkeypatch):
    """What reaches the engine is the map itself, whatever the checks before it do."""
    from voxelcast import _ridge

    np.save(tmp_path / "Y.npy", data.Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    seen = []
    engine = _ridge._voxelcast.fit_ridge

    class Spy:
        @staticmethod
        def fit_ridge(X, Y, *rest):
            seen.append((X, Y))
            return engine(X, Y, *rest)

    monkeypatch.setattr(_ridge, "_voxelcast", Spy)
    RidgeCV(ALPHAS, cv=[np.arange(0, 110), np.arange(110, 220)]).fit(data.X, mapped)
    assert np.shares_memory(seen[0][1], mapped)
    assert np.shares_memory(seen[0][0], data.X)


def test_folds_of_every_kind_that_are_the_same_rows_are_the_same_fit(data):
    expected = fitted(data, cv=4)
    order = list(dict.fromkeys(data.groups.tolist()))
    folds = np.array([order.index(group) % 4 for group in data.groups])
    rows = np.arange(len(folds))
    pairs = [(rows[folds != k], rows[folds == k]) for k in range(4)]
    masks = [(folds != k, folds == k) for k in range(4)]
    for cv in (PredefinedSplit(folds), pairs, masks, [val for _, val in pairs], iter(pairs)):
        model = RidgeCV(ALPHAS, cv).fit(data.X, data.Y)
        assert_same(model, expected)
    text = np.array([f"story {group}" for group in data.groups])
    assert_same(RidgeCV(ALPHAS, 4).fit(data.X, data.Y, groups=text), expected)
    shuffled = KFold(3, shuffle=True, random_state=0)
    for cv in (shuffled, GroupKFold(3), LeaveOneGroupOut()):
        groups = None if cv is shuffled else data.groups
        splits = list(cv.split(data.X, data.Y, groups))
        model = RidgeCV(ALPHAS, cv).fit(data.X, data.Y, groups=groups)
        assert_same(model, RidgeCV(ALPHAS, splits).fit(data.X, data.Y))
    # Without groups a number means neighbouring rows, as scikit-learn's KFold.
    assert_same(
        RidgeCV(ALPHAS, 3).fit(data.X, data.Y), RidgeCV(ALPHAS, KFold(3)).fit(data.X, data.Y)
    )


@pytest.mark.parametrize(
    "cv",
    [
        ShuffleSplit(4, test_size=0.3, random_state=0),
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
        TimeSeriesSplit(4),
        PredefinedSplit(np.repeat([-1, 0, -1, 1, 2], 44)),
        ShuffleSplit(1, test_size=0.3, random_state=0),
    ],
    ids=["bootstrap", "repeated", "growing", "some never held out", "one split"],
)
def test_splits_of_any_kind_choose_what_himalaya_chooses(data, cv):
    himalaya = pytest.importorskip("himalaya.ridge")
    scoring = pytest.importorskip("himalaya.scoring")
    X, Y = data.X.astype(np.float64), data.Y.astype(np.float64)
    params = {"score_func": scoring.correlation_score}
    theirs = himalaya.RidgeCV(ALPHAS, fit_intercept=True, cv=cv, solver_params=params).fit(X, Y)
    ours = RidgeCV(ALPHAS, cv).fit(X, Y)
    np.testing.assert_allclose(ours.cv_scores_.max(axis=0), theirs.cv_scores_, atol=1e-5)
    same = np.isclose(ours.best_alphas_, theirs.best_alphas_)
    top = np.sort(ours.cv_scores_, axis=0)[-2:]
    assert (same | (top[1] - top[0] < 2e-5)).all() and same.mean() > 0.9
    bound = 8 * np.finfo(np.float32).eps * np.sqrt(len(X)) * np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_[:, same], theirs.coef_[:, same], atol=bound)
    np.testing.assert_allclose(ours.intercept_[same], theirs.intercept_[same], atol=20 * bound)


def test_splits_that_are_a_fit_each_give_what_folds_give(data):
    """The folds of one fit, one of them twice: a mean of other weights, by the other way."""
    folds = list(KFold(3).split(data.X))
    once = [RidgeCV(ALPHAS, [split] * 2).fit(data.X, data.Y).cv_scores_ for split in folds]
    expected = RidgeCV(ALPHAS, folds).fit(data.X, data.Y)
    np.testing.assert_allclose(np.mean(once, axis=0), expected.cv_scores_, atol=1e-5)
    twice = RidgeCV(ALPHAS, folds * 2, alpha_tolerance=0.02).fit(data.X, data.Y)
    expected = RidgeCV(ALPHAS, folds, alpha_tolerance=0.02).fit(data.X, data.Y)
    assert (twice.best_alphas_ == expected.best_alphas_).mean() > 0.95
    Y = data.Y.copy()
    Y[3, 5], Y[:, 9] = np.nan, 4.0
    with pytest.warns(FitWarning):
        model = RidgeCV(ALPHAS, folds * 2).fit(data.X, Y)
    assert np.flatnonzero(np.isnan(model.best_alphas_)).tolist() == [5, 9]
    assert np.isnan(model.cv_scores_[:, [5, 9]]).all()


@pytest.mark.parametrize("solver", ["gram", "dual", "svd"])
def test_scores_and_weights_are_himalayas(data, solver):
    himalaya = pytest.importorskip("himalaya.ridge")
    scoring = pytest.importorskip("himalaya.scoring")
    X, Y = data.X.astype(np.float64), data.Y.astype(np.float64)
    folds = KFold(5)
    params = {"score_func": scoring.correlation_score}
    theirs = himalaya.RidgeCV(
        alphas=ALPHAS, cv=folds, fit_intercept=True, solver_params=params
    ).fit(X, Y)
    ours = RidgeCV(ALPHAS, cv=folds, solver=solver).fit(X, Y)
    # DESIGN: CV scores to 1e-5 of an all-f64 solver.
    np.testing.assert_allclose(ours.cv_scores_.max(axis=0), theirs.cv_scores_, atol=1e-5)
    same = np.isclose(ours.best_alphas_, theirs.best_alphas_)
    top = np.sort(ours.cv_scores_, axis=0)[-2:]
    assert (same | (top[1] - top[0] < 2e-5)).all() and same.mean() > 0.9
    # Weights are f32 products over 220 rows: sqrt(220) roundings of their size.
    bound = 8 * np.finfo(np.float32).eps * np.sqrt(len(X)) * np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_[:, same], theirs.coef_[:, same], atol=bound)
    np.testing.assert_allclose(ours.intercept_[same], theirs.intercept_[same], atol=20 * bound)
    np.testing.assert_allclose(
        ours.predict(X)[:, same], theirs.predict(X)[:, same], atol=20 * bound * np.sqrt(23)
    )


def test_alphas_may_come_in_any_order_and_scores_follow_them(data):
    expected = fitted(data)
    order = np.random.default_rng(0).permutation(len(ALPHAS))
    model = fitted(data, alphas=ALPHAS[order])
    np.testing.assert_array_equal(model.cv_scores_, expected.cv_scores_[order])
    np.testing.assert_array_equal(model.best_alphas_, expected.best_alphas_)
    np.testing.assert_array_equal(fitted(data, alphas=10).best_alphas_, 10.0)


def test_one_dimension_in_is_one_dimension_out(data):
    model = fitted(data)
    y = data.Y[:, 7]
    one = RidgeCV(ALPHAS).fit(data.X, y, groups=data.groups)
    assert one.coef_.shape == (23,) and np.ndim(one.intercept_) == 0
    assert one.cv_scores_.shape == (11, 1) and one.best_alphas_.shape == (1,)
    assert one.predict(data.X).shape == (220,)
    assert isinstance(one.score(data.X, y), float)
    # A voxel by itself has an alpha basis of its own: as close as the basis is good.
    np.testing.assert_allclose(one.cv_scores_[:, 0], model.cv_scores_[:, 7], atol=2e-5)
    column = RidgeCV(ALPHAS).fit(data.X, y[:, None], groups=data.groups)
    assert column.coef_.shape == (23, 1) and column.predict(data.X).shape == (220, 1)


def test_score_is_one_number_a_voxel(data):
    model = fitted(data)
    predicted = model.predict(data.X)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, data.Y.T, strict=True)]
    np.testing.assert_allclose(model.score(data.X, data.Y), r, atol=1e-6)
    np.testing.assert_array_equal(model.score(data.X, data.Y), correlation_score(data.Y, predicted))
    r2 = 1 - ((data.Y - predicted) ** 2).sum(0) / ((data.Y - data.Y.mean(0)) ** 2).sum(0)
    found = fitted(data, scoring="r2")
    assert found.score(data.X, data.Y).shape == (70,)
    model.scoring = "r2"
    np.testing.assert_allclose(model.score(data.X, data.Y), r2, atol=1e-5)


def test_voxels_that_cannot_be_fitted_are_nan_and_said(data):
    Y = data.Y.copy()
    Y[3, 5], Y[:, 9], Y[0, 11] = np.nan, 4.0, np.inf
    with pytest.warns(FitWarning, match="1 of 70|3 of 70|constant"):
        model = RidgeCV(ALPHAS).fit(data.X, Y, groups=data.groups)
    dead = np.isnan(model.best_alphas_)
    assert np.flatnonzero(dead).tolist() == [5, 9, 11]
    assert np.isnan(model.cv_scores_[:, dead]).all() and (model.coef_[:, dead] == 0).all()
    np.testing.assert_array_equal(model.best_alphas_[~dead], fitted(data).best_alphas_[~dead])
    with pytest.raises(ValueError, match="NaN"):
        RidgeCV(ALPHAS).fit(data.X, Y[:, 5])


@pytest.mark.parametrize(
    ("settings", "fit", "message"),
    [
        ({"alphas": [1.0, 0.0]}, {}, "expected positive finite numbers, got 0"),
        ({"alphas": [1.0, 1.0]}, {}, "expected an increasing grid"),
        ({"scoring": "mse"}, {}, 'expected "correlation" or "r2", got "mse"'),
        ({"solver": "lu"}, {}, "expected auto, gram, svd or dual"),
        ({"device": "tpu"}, {}, "tpu"),
        ({"alpha_tolerance": 2.0}, {}, "expected 0 to 1, got 2"),
        ({"cv": 1}, {}, "expected at least 2 folds"),
        ({"cv": 50}, {"groups": "of data"}, "expected 2 to 11 folds"),
        ({"cv": 150}, {}, "expected at least 300 rows for 150 folds"),
        ({"cv": []}, {}, "expected at least one split, got none"),
        ({"cv": [([0, 1], [2, 3]), ([0, 1], [1, 2])]}, {}, "split 1 trains on rows that it holds"),
        ({"cv": [([0, 1, 3], [2])]}, {}, "2 validation rows, got 3 and 1 in split 0"),
        ({"cv": [(np.ones(9, bool), [2])]}, {}, "expected masks of 220 rows"),
        ({"cv": [[0.5, 1.5]]}, {}, "expected row indices, got float64"),
        ({"cv": [[0, 1], [999]]}, {}, "expected rows 0 to 219"),
        ({}, {"groups": [1, 2]}, "expected one label for each of 220 rows"),
    ],
)
def test_what_is_wrong_is_said(data, settings, fit, message):
    if fit.get("groups") == "of data":
        fit = {"groups": data.groups}
    with pytest.raises(ValueError, match=message):
        RidgeCV(**{"alphas": ALPHAS, **settings}).fit(data.X, data.Y, **fit)


def test_a_card_that_is_not_there_is_an_error(data):
    with pytest.raises(RuntimeError, match="cuda"):
        RidgeCV(ALPHAS, device="cuda:9000").fit(data.X, data.Y)


def test_rows_and_values_are_checked(data):
    with pytest.raises(ValueError, match="expected 220 rows as in X, got 219"):
        RidgeCV(ALPHAS).fit(data.X, data.Y[1:])
    X = data.X.copy()
    X[4, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        RidgeCV(ALPHAS).fit(X, data.Y)


def test_a_fitted_model_is_the_same_after_pickling(data):
    model = fitted(data)
    again = pickle.loads(pickle.dumps(model))
    assert_same(again, model)
    np.testing.assert_array_equal(again.predict(data.X), model.predict(data.X))


def test_a_function_hears_of_progress_and_a_bar_is_drawn(data, capsys):
    heard = []
    fitted(data, progress=lambda done, total: heard.append((done, total)))
    assert heard[0] == (0, 70) and heard[-1] == (70, 70)
    assert capsys.readouterr().err == ""
    fitted(data, progress=True)
    err = capsys.readouterr().err
    assert "solver: " in err and "70 of 70 voxels" in err


def test_what_a_progress_function_raises_ends_the_fit(data):
    def fail(done, total):
        raise ZeroDivisionError("enough")

    with pytest.raises(ZeroDivisionError, match="enough"):
        fitted(data, progress=fail)
    with pytest.raises(ZeroDivisionError, match="enough"):
        Moments.from_data(data.X, data.Y, data.groups, progress=fail)
