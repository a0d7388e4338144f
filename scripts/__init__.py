"""Programs for those who work on xpnet, and the packages behind them: `benchmarks`, `experiments`."""
