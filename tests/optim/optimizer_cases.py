"""The table of optimizers under test, with what PyTorch calls them."""

from __future__ import annotations

from xpnet import optim

__all__ = ["TABLE"]

# (optimizer, torch.optim class, its options); each registered optimizer has at least one row.
TABLE = [
    (optim.SGD(0.05), "SGD", {"lr": 0.05}),
    (optim.SGD(0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    (optim.SGD(0.05, momentum=0.9, nesterov=True), "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (optim.AdaGrad(0.1), "Adagrad", {"lr": 0.1}),
    (optim.AdaGrad(0.1, epsilon=0.01), "Adagrad", {"lr": 0.1, "eps": 0.01}),
    (optim.AdaGrad(optim.Inverse(0.1, decay=0.02)), "Adagrad", {"lr": 0.1, "lr_decay": 0.02}),
    (optim.AdaDelta(), "Adadelta", {}),
    (optim.AdaDelta(0.5, rho=0.8, epsilon=1e-4), "Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4}),
    (optim.RMSProp(), "RMSprop", {}),
    (optim.RMSProp(0.02, rho=0.9, epsilon=1e-3), "RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3}),
    (optim.Adam(), "Adam", {}),
    (optim.Adam(0.05, 0.8, 0.9, 1e-3), "Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3}),
    (optim.Adam(0.05, beta1=0.0, beta2=0.0), "Adam", {"lr": 0.05, "betas": (0.0, 0.0)}),
    (optim.AdamW(), "AdamW", {}),
    (optim.AdamW(0.05, weight_decay=0.3), "AdamW", {"lr": 0.05, "weight_decay": 0.3}),
    (optim.AdamW(0.05, weight_decay=0.0), "AdamW", {"lr": 0.05, "weight_decay": 0.0}),
]
