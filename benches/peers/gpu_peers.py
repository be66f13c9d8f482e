"""himalaya's torch backends, one XᵀY and eigenproblems on a card; prints one JSON document.

    gpu_peers.py ridge cuda|cpu N_TRS N_FEATURES N_VOXELS N_FOLDS N_ALPHAS
    gpu_peers.py eigh cuda|cpu SIZE…

ridge: data are made on the device and stay there, which is in himalaya's favour: voxelcast's time
holds the copies from the host. All voxels at once; where they do not fit, in batches; where these
do not fit either, fewer voxels. Warm: the first 64 voxels are solved before the clock starts.
eigh: cuSOLVER in f64 on the device against LAPACK on the host, of a Gram matrix.
"""

import json
import sys
import time

import numpy as np
import torch


def clock(device):
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(device, work, repeats):
    work()
    best = float("inf")
    for _ in range(repeats):
        start = clock(device)
        work()
        best = min(best, clock(device) - start)
    return best


def solve(x, y, alphas, cv, batches):
    from himalaya.ridge import solve_ridge_cv_svd
    from himalaya.scoring import correlation_score

    return solve_ridge_cv_svd(x, y, alphas=alphas, cv=cv, score_func=correlation_score, fit_intercept=True,
                              local_alpha=True, warn=False, **batches)


def is_memory(error):
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error).lower()


def ridge(device, n_trs, n_features, n_voxels, n_folds, n_alphas):
    from himalaya.backend import set_backend
    from sklearn.model_selection import PredefinedSplit

    set_backend("torch_cuda" if device == "cuda" else "torch")
    # f32 is f32: no TF32 behind anybody's back.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(214)
    x = torch.randn(n_trs, n_features, device=device)
    alphas = torch.logspace(0, 6, n_alphas, device=device)
    cv = PredefinedSplit(np.arange(n_trs) * 5 * n_folds // n_trs % n_folds)
    tried = []
    for voxels in [n for n in (n_voxels, 40_000, 16_000, 8_000, 2_000) if n <= n_voxels]:
        for batches in ({}, {"n_targets_batch": 8_192, "n_alphas_batch": 4}):
            y = None
            try:
                y = torch.randn(n_trs, voxels, device=device)
                solve(x, y[:, :64].contiguous(), alphas, cv, {})
                start = clock(device)
                solve(x, y, alphas, cv, batches)
                seconds = clock(device) - start
                xty = timed(device, lambda: x.T @ y, 5)
                return {"n_trs": n_trs, "n_features": n_features, "n_voxels": voxels, "batches": batches,
                        "seconds": seconds, "xty_seconds": xty, "did_not_fit": tried,
                        "xty_gflop_per_s": 2e-9 * n_trs * n_features * voxels / xty, "torch": torch.__version__}
            except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
                if not is_memory(error):
                    raise
                tried.append({"n_voxels": voxels, "batches": batches})
                del y
                if device == "cuda":
                    torch.cuda.empty_cache()
    return {"did_not_fit": tried}


def eigh(device, *sizes):
    found = []
    for size in sizes:
        torch.manual_seed(214)
        rows = torch.randn(2 * size, size, dtype=torch.float64)
        gram = rows.T @ rows
        there = gram.to(device)
        found.append({"size": size, "device_seconds": timed(device, lambda: torch.linalg.eigh(there), 2),
                      "host_seconds": timed("cpu", lambda: torch.linalg.eigh(gram), 1)})
    return found


if __name__ == "__main__":
    what, device, *numbers = sys.argv[1:]
    print(json.dumps({"ridge": ridge, "eigh": eigh}[what](device, *map(int, numbers))))
