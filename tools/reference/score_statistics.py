"""Known answers of the statistics, by scipy.

    python tools/reference/score_statistics.py

Writes tests/goldens/score/statistics.json.
"""
import json
import pathlib

import numpy as np
import scipy.stats
from scipy.stats._resampling import BootstrapResult
from streams import Purpose, Random

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/score/statistics.json"


def resamples(samples, count, seed):
    """[count, samples]: the rows that readback draws."""
    drawn = Random(seed, Purpose.BOOTSTRAP).words(samples * count) * np.uint64(samples) >> np.uint64(32)
    return drawn.astype(np.int64).reshape(count, samples)


def intervals():
    """scipy's own percentile and BCa intervals of the statistics of resamples that are given to it."""
    generator = np.random.default_rng(11)
    statistics = {"mean": lambda rows: rows[..., 0].mean(-1),
                  "ratio": lambda rows: rows[..., 0].sum(-1) / rows[..., 1].sum(-1),
                  "share above 1": lambda rows: (rows[..., 0] > 1).mean(-1)}
    cases = []
    for name, statistic in statistics.items():
        for samples, seed, confidence in ((12, 0, 0.95), (150, 3, 0.9)):
            values = np.stack([np.round(generator.gamma(1.5, 1.0, samples), 3), np.round(1 + generator.random(samples), 3)], 1)
            resampled = statistic(values[resamples(samples, 500, seed)])
            case = {"statistic": name, "rows": values.tolist(), "seed": seed, "confidence": confidence, "resamples": 500,
                    "value": float(statistic(values))}
            for method in ("percentile", "BCa"):
                result = scipy.stats.bootstrap(
                    tuple(values.T), lambda x, y, axis: statistic(np.stack([x, y], -1)), paired=True, vectorized=True,
                    n_resamples=0, confidence_level=confidence, method=method,
                    bootstrap_result=BootstrapResult(None, resampled, None)).confidence_interval
                case[method] = [float(result.low), float(result.high)]
            cases.append(case)
    return cases


def permutations():
    """Exact two-sided p-values of all swaps, of the difference of means and of ratios of sums."""
    generator = np.random.default_rng(13)
    cases = []
    for samples, shift in ((3, 0.0), (8, 0.6), (11, 0.1), (12, 0.5)):
        rows = np.round(np.stack([generator.normal(2, 1, 2 * samples), 2 + generator.random(2 * samples)], 1), 2)
        rows[samples:, 0] -= shift
        rows[samples] = rows[0]  # a sample on which they agree
        values = {"mean": lambda i: rows[i.astype(int), 0].mean(-1),
                  "ratio": lambda i: rows[i.astype(int), 0].sum(-1) / rows[i.astype(int), 1].sum(-1)}
        p = {name: float(scipy.stats.permutation_test(
                (np.arange(samples), np.arange(samples, 2 * samples)), lambda a, b, axis: value(a) - value(b),
                permutation_type="samples", n_resamples=np.inf, vectorized=True).pvalue) for name, value in values.items()}
        cases.append({"a": rows[:samples].tolist(), "b": rows[samples:].tolist(), **p})
    return cases


def statistics():
    generator = np.random.default_rng(7)
    pairs = []
    for n, levels in ((2, 50), (5, 3), (40, 4), (40, 1000), (200, 6), (500, 100000)):
        x = generator.integers(0, levels, n)
        y = (x + generator.integers(0, levels, n)) // 2
        pairs.append((x, y))
    pairs.append((np.arange(6), np.arange(6)[::-1]))
    correlations = [{"x": x.tolist(), "y": y.tolist(), "spearman": float(scipy.stats.spearmanr(x, y)[0]),
                     "pearson": float(scipy.stats.pearsonr(x, y)[0]),
                     "kendall_b": float(scipy.stats.kendalltau(x, y)[0]),
                     "kendall_c": float(scipy.stats.kendalltau(x, y, variant="c")[0])} for x, y in pairs]
    bootstraps = []
    for n in (10, 200):
        values = np.round(generator.gamma(2.0, 1.0, n), 4)
        result = scipy.stats.bootstrap((values,), np.mean, n_resamples=200000, method="percentile", batch=1000,
                                       rng=np.random.default_rng(1)).confidence_interval
        bootstraps.append({"values": values.tolist(), "mean": float(values.mean()),
                           "standard_error": float(values.std(ddof=1) / np.sqrt(n)),
                           "low": float(result.low), "high": float(result.high)})
    values = np.sort(generator.normal(size=9))
    quantiles = {"values": values.tolist(), "q": [0.0, 0.025, 0.3, 0.5, 0.975, 1.0]}
    quantiles["expected"] = np.quantile(values, quantiles["q"]).tolist()
    return {"correlations": correlations, "bootstraps": bootstraps, "quantiles": quantiles}


if __name__ == "__main__":
    content = {**statistics(), "intervals": intervals(), "permutations": permutations()}
    OUTPUT.write_text(json.dumps(content, separators=(",", ":")) + "\n")
