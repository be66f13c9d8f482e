"""Ridge coefficients for given alphas, as scikit-learn computes them.

scikit-learn 1.9.1, NumPy 2.4.6 (benches/peers/requirements.txt); f64, solver "svd".
Data are those of ../ridge_himalaya. Run through scripts/golden.
"""

from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

HERE = Path(__file__).parent
DATA = HERE.parent / "ridge_himalaya"


def save(name, array):
    np.save(HERE / f"{name}.npy", np.ascontiguousarray(array))


for case, shared in {"tall": [1.0, 1e2, 1e3, 1e6], "wide": [1.0, 1e4]}.items():
    x = np.load(DATA / f"{case}-x_f32.npy").astype("f8")
    y = np.load(DATA / f"{case}-y_f32.npy").astype("f8")
    grid = np.load(DATA / f"{case}-alphas.npy")
    # One alpha for all voxels, then voxel v with the grid's alpha v, over and over.
    settings = {f"alpha{a:g}": a for a in shared}
    settings["alpha_per_voxel"] = grid[np.arange(y.shape[1]) % len(grid)]
    for name, alpha in settings.items():
        for intercept in (True, False):
            model = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd").fit(x, y)
            way = "intercept" if intercept else "plain"
            save(f"{case}-{name}-{way}-coefs", model.coef_.T)
            if intercept:
                save(f"{case}-{name}-{way}-intercepts", model.intercept_)
