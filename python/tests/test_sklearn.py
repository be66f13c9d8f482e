"""RidgeCV among scikit-learn's and himalaya's estimators."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from voxelcast import RidgeCV, make_delayed

#: Checks that are not passed, each with its reason.
EXCEPTIONS = {}


@parametrize_with_checks([RidgeCV()], expected_failed_checks=lambda estimator: EXCEPTIONS)
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_a_clone_has_the_same_parameters():
    model = RidgeCV([1, 2], cv=3, scoring="r2", alpha_tolerance=0.1, n_threads=1)
    assert clone(model).get_params() == model.get_params()


def test_a_pipeline_passes_groups_and_scales(data):
    pipeline = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 5)))
    pipeline.fit(data.X, data.Y, ridgecv__groups=data.groups)
    direct = RidgeCV(np.logspace(0, 4, 5)).fit(
        StandardScaler().fit_transform(data.X), data.Y, groups=data.groups
    )
    np.testing.assert_array_equal(pipeline[-1].coef_, direct.coef_)
    np.testing.assert_array_equal(
        pipeline.predict(data.X), direct.predict(StandardScaler().fit_transform(data.X))
    )
    assert pipeline.score(data.X, data.Y).shape == (70,)


def test_delays_in_a_pipeline_are_those_in_front_of_it(data):
    delayer = FunctionTransformer(make_delayed, kw_args={"delays": [1, 2, 3]})
    pipeline = make_pipeline(delayer, RidgeCV([1.0, 100.0])).fit(data.X, data.Y)
    direct = RidgeCV([1.0, 100.0]).fit(make_delayed(data.X, [1, 2, 3]), data.Y)
    np.testing.assert_array_equal(pipeline[-1].coef_, direct.coef_)
    assert pipeline.predict(data.X).shape == data.Y.shape


def test_it_takes_himalayas_place_in_a_pipeline(data):
    himalaya = pytest.importorskip("himalaya.ridge")
    scoring = pytest.importorskip("himalaya.scoring")
    alphas = np.logspace(0, 4, 5)
    X, Y = data.X.astype(np.float64), data.Y.astype(np.float64)
    params = {"score_func": scoring.r2_score}
    theirs = himalaya.RidgeCV(alphas, fit_intercept=True, cv=4, solver_params=params)
    theirs = make_pipeline(StandardScaler(), theirs).fit(X, Y)
    ours = make_pipeline(StandardScaler(), RidgeCV(alphas, cv=4, scoring="r2")).fit(X, Y)
    same = np.isclose(ours[-1].best_alphas_, theirs[-1].best_alphas_)
    assert same.mean() > 0.95
    # Weights come from f32 products over 220 rows, predictions sum 23 of them.
    bound = 8 * np.finfo(np.float32).eps * np.sqrt(220) * np.sqrt(23) * np.abs(Y).max()
    found, expected = ours.predict(X)[:, same], theirs.predict(X)[:, same]
    np.testing.assert_allclose(found, expected, atol=bound)


def test_searches_and_cross_validation_take_it(data):
    y = data.Y[:, 0]
    search = GridSearchCV(RidgeCV([1.0, 10.0]), {"fit_intercept": [True, False]}, cv=3)
    search.fit(data.X, y)
    assert search.best_params_ == {"fit_intercept": True}
    predicted = cross_val_predict(
        RidgeCV([1.0, 10.0]), data.X, data.Y, groups=data.groups, cv=GroupKFold(3)
    )
    assert predicted.shape == data.Y.shape and np.isfinite(predicted).all()
